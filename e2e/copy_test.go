package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSkopeo carries a model from one registry to another by way of an OCI
// layout, with a tool that knows nothing of models.
func TestSkopeo(t *testing.T) {
	needs(t, "skopeo")
	from, to, u, dir := newRegistry(t, nil), newRegistry(t, nil), newUser(t), newModel(t)
	layout := "oci:" + filepath.Join(t.TempDir(), "layout") + ":v1"
	u.tool("push", from.Addr+"/org/model:v1", dir)
	u.run("skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--src-tls-verify=false",
		"docker://"+from.Addr+"/org/model:v1", layout)
	u.run("skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--dest-tls-verify=false",
		layout, "docker://"+to.Addr+"/other/name:v2")

	want, got := newClient(t, from.Addr, "org/model").digests("v1"), newClient(t, to.Addr, "other/name").digests("v2")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("digests (-pushed +copied):\n%s", d)
	}
	u.tool("verify", layout)
	u.pulls(layout, dir)
	u.pulls(to.Addr+"/other/name:v2", dir)
}

// crane is the client of go-containerregistry.
const crane = "github.com/google/go-containerregistry/cmd/crane@v0.22.1"

// buildCrane returns the program. It is built once and kept in the user's cache.
func buildCrane(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("crane has no place to be built: %v", err)
	}
	_, version, _ := strings.Cut(crane, "@")
	bin := filepath.Join(cache, "oras-bsm-e2e", "crane-"+version)
	program := filepath.Join(bin, "crane")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "install", crane)
	cmd.Env = append(os.Environ(), "GOBIN="+bin, "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("crane cannot be built: %v\n%s", err, out)
	}
	return program
}

// TestCrane copies a model from one registry to another with crane.
func TestCrane(t *testing.T) {
	crane := buildCrane(t)
	from, to, u, dir := newRegistry(t, nil), newRegistry(t, nil), newUser(t), newModel(t)
	u.tool("push", from.Addr+"/org/model:v1", dir)
	u.run(crane, "copy", "--insecure", from.Addr+"/org/model:v1", to.Addr+"/other/name:v2")

	source := newClient(t, from.Addr, "org/model")
	if d := cmp.Diff(source.digests("v1"), newClient(t, to.Addr, "other/name").digests("v2")); d != "" {
		t.Errorf("digests (-pushed +copied):\n%s", d)
	}
	u.tool("verify", to.Addr+"/other/name:v2")
	u.pulls(to.Addr+"/other/name:v2", dir)

	// One platform of the index is an image that crane finds no fault with.
	manifest := u.run(crane, "manifest", "--insecure", "--platform", "linux/arm64", from.Addr+"/org/model:v1").Stdout
	if !strings.Contains(manifest, `"application/vnd.oras-bsm.model.v1"`) {
		t.Errorf("crane manifest prints %s", manifest)
	}
	if got, want := strings.TrimSpace(u.run(crane, "digest", "--insecure", to.Addr+"/other/name:v2").Stdout), source.digests("v1")[0]; got != want {
		t.Errorf("crane digest prints %s, want %s", got, want)
	}
}
