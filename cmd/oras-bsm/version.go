package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/codec"
)

// versionResult says how this program was built.
type versionResult struct {
	Version  string `json:"version"`            // of the module; "(devel)" outside a release
	Revision string `json:"revision,omitempty"` // of the version control system
	Modified bool   `json:"modified"`           // the tree was not as committed
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Format   int    `json:"format"` // of the layers that it writes
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program and of its layer format",
		Long: `Version shows the release of this program, what it was built from and with, and
the format of the layers that it reads and writes.`,
		Example: `  oras-bsm version
  oras-bsm version --json | jq -r .version`,
		Args:              takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			v := buildVersion()
			return a.print(v, func(w io.Writer) { printVersion(w, v) })
		},
	}
}

func printVersion(w io.Writer, v versionResult) {
	t := table{}
	t.row("oras-bsm", v.Version)
	if v.Revision != "" {
		revision := v.Revision
		if v.Modified {
			revision += ", modified"
		}
		t.row("revision", revision)
	}
	t.row("go", v.Go+" "+v.Platform)
	t.row("format", fmt.Sprint(v.Format))
	t.write(w)
}

// buildVersion reads what the Go toolchain left in the program.
func buildVersion() versionResult {
	v := versionResult{
		Version:  "(devel)",
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Format:   codec.Version,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
