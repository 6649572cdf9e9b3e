package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/oras-bsm/oras-bsm/oci"
)

// app is what the commands share: where they read and write, and the global
// flags.
type app struct {
	stdin  *os.File
	stdout *output
	stderr io.Writer

	plainHTTP bool
	hosts     hostFlags
	jobs      int
	quiet     bool
	limitRate byteSize
	links     int
	json      bool

	started bool // the command line was understood
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "oras-bsm",
		Short: "Ship models through OCI registries, losslessly compressed",
		Long: `oras-bsm stores a model directory (safetensors or GGUF, config, tokenizer) in an
OCI registry, losslessly compressed with one layer per transformer block, and
gets the same bytes back.`,
		Example: `  # no server needed: an OCI layout, which is a directory on this machine
  oras-bsm push oci:./model.oci:v1 ./model
  oras-bsm inspect oci:./model.oci:v1
  oras-bsm pull oci:./model.oci:v1 -o ./out

  # a registry
  oras-bsm login ghcr.io
  oras-bsm push ghcr.io/org/mistral:bsm ./Mistral-7B-Instruct-v0.3
  oras-bsm pull ghcr.io/org/mistral:bsm -o ./out`,
		Version:          buildVersion().Version,
		SilenceErrors:    true,
		SilenceUsage:     true,
		Args:             knownCommand,
		RunE:             func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRun: func(*cobra.Command, []string) { a.started = true },

		DisableFlagsInUseLine:      true,
		SuggestionsMinimumDistance: 2, // letters to change
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	f := root.PersistentFlags()
	f.BoolVar(&a.plainHTTP, "plain-http", false, "speak http, not https, to the registry")
	a.hosts.add(root)
	f.IntVar(&a.jobs, "jobs", 0, "encode or decode with `N` goroutines (default: one a CPU, at most 8)")
	f.IntVar(&a.links, "connections", 0, "send `N` requests for parts of blobs at once (default 8)")
	f.Var(&a.limitRate, "limit-rate", "move at most this `SIZE` of blobs a second in each direction, such as 50MB")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "show no progress")
	f.BoolVar(&a.json, "json", false, "print the result as one JSON document, and progress and errors as JSON lines")
	group(root, "Models:", newPush(a), newPull(a), newInspect(a), newVerify(a), newDiff(a), newBench(a))
	group(root, "Stores:", newCopy(a), newSave(a), newLoad(a), newServe(a), newList(a), newTag(a),
		newCheck(a), newRepair(a), newGC(a))
	group(root, "Registries:", newLogin(a), newLogout(a))
	root.AddCommand(newVersion(a))
	root.AddCommand(topics()...)
	strictHelp(root)
	return root
}

// group adds commands under a title of their own.
func group(root *cobra.Command, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, c := range commands {
		c.GroupID = title
	}
	root.AddCommand(commands...)
}

// knownCommand refuses arguments of the root, which are commands misspelt.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := &usageError{err: fmt.Errorf("unknown command %q", args[0])}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err.hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return err
}

// strictHelp makes help about what there is none of an error.
func strictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	i := slices.IndexFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == "help" })
	help := root.Commands()[i]
	show := help.Run
	help.Run = nil
	help.RunE = func(cmd *cobra.Command, args []string) error {
		if c, _, err := root.Find(args); len(args) > 0 && (err != nil || c == root) {
			return &usageError{err: fmt.Errorf("no help about %q", strings.Join(args, " "))}
		}
		show(cmd, args)
		return nil
	}
}

// flagError says what a flag wants in its own words: those of the flag package
// are about functions of strconv.
func flagError(_ *cobra.Command, err error) error {
	bad, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	want := "a whole number"
	switch bad.GetFlag().Value.Type() {
	case "bool":
		want = "true or false"
	case "SIZE":
		want = "a size such as 500MB or 2GiB"
	}
	return fmt.Errorf("--%s: %q is not %s", bad.GetFlag().Name, bad.GetValue(), want)
}

// takes returns a check that the arguments are as many as their names.
func takes(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		want := strings.Join(names, " ")
		if want == "" {
			want = "no arguments"
		}
		return &usageError{err: fmt.Errorf("want %s, got %d arguments", want, len(args))}
	}
}

// store returns the options of a store.
func (a *app) store() oci.StoreOptions {
	return oci.StoreOptions{
		PlainHTTP: a.plainHTTP, UserAgent: "oras-bsm/" + buildVersion().Version,
		Connections: a.links, LimitRate: int64(a.limitRate),
		HostsDir: a.hosts.dir, CAFile: a.hosts.ca, CertFile: a.hosts.cert, KeyFile: a.hosts.key,
	}
}

// job reads the REF of a command line and returns the options to work on it with.
// The caller calls done when the work ends, before anything is printed.
func (a *app) job(name string) (ref oci.Reference, o oci.Options, done func(), err error) {
	if ref, err = oci.ParseReference(name, a.plainHTTP); err != nil {
		return ref, o, nil, &usageError{err: err, hint: "oras-bsm help references"}
	}
	o, done, err = a.work()
	return ref, o, done, err
}

// work is job for work on no REF.
func (a *app) work() (o oci.Options, done func(), err error) {
	if a.jobs < 0 {
		return o, nil, &usageError{err: fmt.Errorf("--jobs %d is negative", a.jobs)}
	}
	if a.links < 0 {
		return o, nil, &usageError{err: fmt.Errorf("--connections %d is negative", a.links)}
	}
	o = oci.Options{StoreOptions: a.store(), Jobs: a.jobs}
	out := a.stderr
	o.Warn = func(msg string) { a.warn(out, msg) }
	if a.quiet {
		return o, func() {}, nil
	}
	size := terminal(a.stderr)
	if size != nil && !a.json && os.Getenv("CI") == "" {
		b := newBars(a.stderr, size)
		o.Progress, out = b, b
		return o, b.close, nil
	}
	t := newLines(a.stderr)
	if a.json {
		t = newEvents(a.stderr)
	}
	o.Progress = t
	return o, t.close, nil
}

// terminal returns a function that tells the columns and rows of w, or nil if it
// is no terminal that can move its cursor and has room for bars. Some
// pseudo-terminals have no size at all.
func terminal(w io.Writer) func() (width, height int, err error) {
	const columns, rows = 40, 6 // two phases, an item and the cursor
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return nil
	}
	size := func() (int, int, error) { return term.GetSize(int(f.Fd())) }
	if width, height, err := size(); err != nil || width < columns || height < rows {
		return nil
	}
	return size
}
