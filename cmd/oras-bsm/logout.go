package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/oci"
)

func newLogout(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "logout HOST",
		Short:             "Forget the credentials for a registry",
		Long:              "Logout removes what login, or docker login, kept for the registry.",
		Example:           "  oras-bsm logout ghcr.io",
		Args:              takes("HOST"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oci.Logout(args[0]); err != nil {
				return err
			}
			return a.print(loginResult{Registry: args[0]}, func(w io.Writer) {
				_, _ = fmt.Fprintln(w, "logged out of "+escape(args[0]))
			})
		},
	}
}
