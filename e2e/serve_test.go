package e2e_test

import (
	"bufio"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/oras-bsm/oras-bsm/oci"
)

// serve runs oras-bsm serve until stop, which ends it with a signal and checks that
// it ends well, and returns its HOST:PORT. The test calls stop before it ends.
func (u *user) serve(store string) (addr string, stop func()) {
	u.t.Helper()
	cmd := u.command("oras-bsm", "serve", "--json", "--listen", "127.0.0.1:0", store)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
			u.t.Errorf("serve ended with %v\n%s", err, stderr.String())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	var r oci.ServeResult
	if err == nil {
		err = json.Unmarshal([]byte(line), &r)
	}
	if err != nil {
		u.t.Fatalf("serve prints %q: %v", line, err)
	}
	return r.Address, stop
}

// TestServeSkopeo carries a model out of a served layout with a tool that knows
// nothing of models, and pulls it from the copy.
func TestServeSkopeo(t *testing.T) {
	needs(t, "skopeo")
	u, dir := newUser(t), newModel(t)
	store := filepath.Join(t.TempDir(), "store")
	u.tool("push", "oci:"+store+":v1", dir)
	u.tool("tag", "oci:"+store+":v1", "v2")
	addr, stop := u.serve(store)
	defer stop()
	from := "docker://" + addr + "/any/name"

	var tags struct{ Tags []string }
	listed := u.run("skopeo", "list-tags", "--tls-verify=false", from)
	if err := json.Unmarshal([]byte(listed.Stdout), &tags); err != nil || !cmp.Equal(tags.Tags, []string{"v1", "v2"}) {
		t.Errorf("skopeo list-tags prints %s: %v", listed.Stdout, err)
	}
	copied := "oci:" + filepath.Join(t.TempDir(), "copy") + ":v1"
	u.run("skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--src-tls-verify=false", from+":v1", copied)
	u.tool("verify", copied)
	u.pulls(copied, dir)
	u.pulls(addr+"/other/name:v2", dir)

	var diff oci.DiffResult
	u.query(&diff, "diff", addr+"/other/name:v2", copied)
	if diff.A.Digest != diff.B.Digest || diff.Fetch != (oci.FetchSize{}) {
		t.Errorf("the copy differs: %+v", diff.Fetch)
	}
	stop()
	if r := u.try("pull", addr+"/other/name:v2", "-o", filepath.Join(t.TempDir(), "out")); r.Code != 4 {
		t.Errorf("after the end of the server: exit code %d", r.Code)
	}
}

// TestServeCrane does the same with crane, which asks for one platform.
func TestServeCrane(t *testing.T) {
	crane := buildCrane(t)
	u, dir := newUser(t), newModel(t)
	store := filepath.Join(t.TempDir(), "store.tar")
	u.tool("push", "oci-archive:"+store+":v1", dir)
	addr, stop := u.serve(store)
	defer stop()
	to := newRegistry(t, nil)
	u.run(crane, "copy", "--insecure", addr+"/any/name:v1", to.Addr+"/org/model:v1")
	u.pulls(to.Addr+"/org/model:v1", dir)
	if got := u.run(crane, "catalog", "--insecure", addr).Stdout; strings.TrimSpace(got) != addr+"/store" && strings.TrimSpace(got) != "store" {
		t.Errorf("crane catalog prints %q", got)
	}
}
