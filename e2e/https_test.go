package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oras-bsm/oras-bsm/e2e/registry"
)

// passwords lets user in with the password secret, and nobody else.
const passwords = "user:$2a$05$qw33rAi69MnyMPOYmTM8audvGaU3hwqa6DNZAXVP5c9y75dSVcuV6\n"

// TestHTTPS uses a registry that wants TLS and a password.
func TestHTTPS(t *testing.T) {
	needs(t, registry.Program)
	s, dir := newRegistry(t, &registry.Options{TLS: true, Htpasswd: passwords}), newModel(t)
	stranger := newUser(t)
	u := stranger.with("SSL_CERT_FILE=" + s.CA)
	ref := s.Addr + "/org/model:v1"

	refused := func(what string, args ...string) {
		t.Helper()
		r := u.try(append(args, "--quiet")...)
		if r.Code != 4 || r.Stdout != "" || !strings.Contains(r.Stderr, "oras-bsm login "+s.Addr) {
			t.Errorf("%s: exit code %d, %s%s", what, r.Code, r.Stdout, r.Stderr)
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	refused("push without credentials", "push", ref, dir)
	refused("pull without credentials", "pull", ref, "-o", out)
	if _, err := os.Stat(out); err == nil {
		t.Error("a pull that was refused made its directory")
	}

	u.stdin = "wrong\n"
	if r := u.try("login", s.Addr, "-u", "user", "--password-stdin"); r.Code != 4 {
		t.Errorf("login with a wrong password: exit code %d, %s", r.Code, r.Stderr)
	}
	refused("push after a login that failed", "push", ref, dir)
	u.stdin = "secret\n"
	u.tool("login", s.Addr, "-u", "user", "--password-stdin")
	u.stdin = ""
	u.tool("push", ref, dir)
	u.tool("verify", ref)
	u.pulls(ref, dir)

	// The certificate is not trusted by everybody, whatever the credentials.
	if r := stranger.try("verify", ref, "--quiet"); r.Code != 4 || !strings.Contains(r.Stderr, "certificate") {
		t.Errorf("with an unknown certificate: exit code %d, %s", r.Code, r.Stderr)
	}

	u.tool("logout", s.Addr)
	refused("verify after logout", "verify", ref)
	refused("push after logout", "push", ref, dir)
}
