package main

import (
	"context"
	"os"
	"os/exec"
	"time"

	"github.com/oras-bsm/oras-bsm/e2e/registry"
)

// install installs the registry's package on Debian as root, and says why not
// where it does not.
func install(ctx context.Context) {
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		say("install  %s is not here, and installing it needs root and apt-get: using a stand-in", registry.Program)
		return
	}
	say("install  %s", registry.Program)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{"-qq", "update"},
		{"-qq", "install", "-y", "--no-install-recommends", registry.Program},
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		// In single-user mode, as told here, a package does not start its service.
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			say("install  apt-get: %v: using a stand-in\n%s", err, out)
			return
		}
	}
	if !registry.Installed() {
		say("install  the package brought no %s: using a stand-in", registry.Program)
	}
}
