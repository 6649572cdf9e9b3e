package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/oci"
)

func newServe(a *app) *cobra.Command {
	var o oci.ServeOptions
	cmd := &cobra.Command{
		Use:   "serve DIR|FILE",
		Short: "Serve an OCI layout or archive as a read-only registry",
		Long: `Serve answers pulls from the OCI layout DIR, or from the archive FILE, as a
registry does, to any client: oras-bsm, containerd, skopeo, oras. What is in the
store is served under every repository name, so that a node can use the server
as a mirror of whatever registry the models came from. Nothing can be written.

A layout may be pushed to while it is served. An archive that is replaced is
served as it was until serve is started again.

One line on standard output says where it answers, as JSON with --json: with
port 0 the system chooses a free one. SIGINT and SIGTERM end it, with exit code
0. Nobody is asked for a password, so by default only this machine can connect.`,
		Example: `  oras-bsm serve ./model.oci
  oras-bsm pull localhost:5000/any/name:v1 -o ./out

  # to other machines, as /etc/containerd/certs.d/ghcr.io/hosts.toml names it
  oras-bsm serve --listen :5000 --tls-cert cert.pem --tls-key key.pem ./model.tar`,
		Args: takes("DIR|FILE"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if (o.CertFile == "") != (o.KeyFile == "") {
				return &usageError{err: errors.New("--tls-cert and --tls-key go together")}
			}
			return a.serve(cmd.Context(), args[0], &o)
		},
	}
	cmd.Flags().StringVar(&o.Listen, "listen", oci.DefaultListen, "the `ADDRESS` to listen on; :5000 is every address of this machine")
	cmd.Flags().StringVar(&o.CertFile, "tls-cert", "", "speak https with the certificate in this PEM `FILE`")
	cmd.Flags().StringVar(&o.KeyFile, "tls-key", "", "the `FILE` of its key, in PEM")
	return cmd
}

func (a *app) serve(ctx context.Context, name string, o *oci.ServeOptions) error {
	ref, err := oci.ParseStore(name)
	if err != nil {
		return err
	}
	opts, done, err := a.work()
	if err != nil {
		return err
	}
	defer done()
	o.Warn = opts.Warn
	o.Started = func(r oci.ServeResult) {
		line := "serving " + escape(r.Ref) + " at " + r.URL + "\n"
		if a.json {
			if doc, err := json.Marshal(r); err == nil {
				line = escapeJSON(doc) + "\n"
			}
		}
		_, _ = fmt.Fprint(a.stdout, line)
	}
	return oci.Serve(ctx, ref, o)
}
