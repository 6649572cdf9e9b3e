package main

import "github.com/spf13/cobra"

// hostFlags are the global flags about the hosts of registries.
type hostFlags struct {
	dir, ca, cert, key string
}

func (h *hostFlags) add(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&h.dir, "hosts-dir", "", "the `DIR` of mirrors and certificates (default: /etc/containerd/certs.d)")
	f.StringVar(&h.ca, "ca-file", "", "a PEM `FILE` of authorities to trust beside the system's")
	f.StringVar(&h.cert, "cert-file", "", "a PEM `FILE` of the client certificate for registries that want one")
	f.StringVar(&h.key, "key-file", "", "a PEM `FILE` of its key (default: the file of the certificate)")
	complete(root, "hosts-dir", cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs))
	for _, name := range []string{"ca-file", "cert-file", "key-file"} {
		complete(root, name, cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault))
	}
}
