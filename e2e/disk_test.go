//go:build linux

package e2e_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/oras-bsm/oras-bsm/e2e/harness"
	"github.com/oras-bsm/oras-bsm/e2e/trace"
)

// mounted mounts a file system in a directory, until the test ends.
func mounted(t *testing.T, args ...string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	needs(t, "mount")
	dir := t.TempDir()
	if out, err := exec.Command("mount", append(args, dir)...).CombinedOutput(); err != nil {
		t.Skipf("mounting is not possible here: %v, %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil { // which detaches the loop device, too
			t.Errorf("umount: %v, %s", err, out)
		}
	})
	return dir
}

// disk mounts a new ext4 file system of so many KiB, made with these options, none
// of which is kept back for root.
func disk(t *testing.T, kib int, options ...string) string {
	t.Helper()
	needs(t, "mkfs.ext4")
	image := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(image)
	if err == nil {
		err = errors.Join(f.Truncate(int64(kib)<<10), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-q", "-F", "-m", "0", "-O", "^has_journal"}, append(options, image)...)
	if out, err := exec.Command("mkfs.ext4", args...).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v, %s", err, out)
	}
	return mounted(t, "-o", "loop", image)
}

// fills leaves so many KiB of a file system free. What it returns frees the rest.
func fills(t *testing.T, dir string, free int) (empty func()) {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, ".ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// What the file system needs to keep account of the file is not known.
	const little = 32 << 10
	for size := int64(fs.Bavail)*fs.Bsize - int64(free)<<10; size > 0; size -= little {
		if err = syscall.Fallocate(int(f.Fd()), 0, 0, size); !errors.Is(err, syscall.ENOSPC) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(f.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// complains checks that a run failed for a reason of this machine, and says what.
func complains(t *testing.T, r *harness.Result, says ...string) {
	t.Helper()
	if r.Code != exitFailure || r.Stdout != "" {
		t.Errorf("exit code %d, want %d; %s%s", r.Code, exitFailure, r.Stdout, r.Stderr)
	}
	for _, s := range says {
		if !strings.Contains(r.Stderr, s) {
			t.Errorf("the error does not say %q:\n%s", s, r.Stderr)
		}
	}
}

// few returns all of the stages with BSM_SLOW, or else some at random.
func few(all []stage) []stage {
	if os.Getenv("BSM_SLOW") != "" {
		return all
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:6]
}

// TestFullDisk runs the verbs on a disk with less and then more room, from nothing
// to enough. What does not fit is an error that says so, changes nothing, and is
// mended by room.
func TestFullDisk(t *testing.T) {
	p := newPlay(t)
	step := 3000 // KiB
	if os.Getenv("BSM_SLOW") != "" {
		step = 100
	}
	for _, s := range few(p.stages()) {
		if strings.HasSuffix(s.name, "to a registry") {
			continue // whose disk is another's
		}
		t.Run(s.name, func(t *testing.T) {
			dir := disk(t, 40<<10)
			failed := 0
			for free := 0; ; free += step {
				u := newUser(t)
				d := filepath.Join(dir, fmt.Sprint("with-", free))
				if err := os.Mkdir(d, 0o755); err != nil {
					t.Fatal(err)
				}
				if s.set != nil {
					s.set(u, d)
				}
				empty := fills(t, dir, free)
				r := u.try(append(s.args(d), "--quiet")...)
				if r.Code != 0 {
					failed++
					complains(t, r, "no space left on device")
					t.Logf("%d KiB free: %s", free, strings.TrimSpace(r.Stderr))
					s.left(u, d)
					empty()
					u.tool(s.args(d)...)
				}
				empty()
				s.check(u, d)
				if err := os.RemoveAll(d); err != nil {
					t.Fatal(err)
				}
				if r.Code == 0 {
					t.Logf("%d KiB are enough, %d runs had less", free, failed)
					break
				}
			}
			switch s.name {
			case "gc": // which makes room
				if failed > 0 {
					t.Error("gc needs room")
				}
			case "tag":
			default:
				if failed == 0 {
					t.Error("none had too little room: this proves nothing")
				}
			}
		})
	}
}

// TestFullTemp pushes to a registry with no room for what is on its way.
func TestFullTemp(t *testing.T) {
	s, dir := newRegistry(t, nil), newModel(t)
	temp := mounted(t, "-t", "tmpfs", "-o", "size=64k", "tmpfs")
	u := newUser(t)
	ref := s.Addr + "/org/model:v1"
	r := u.with("TMPDIR="+temp).try("push", ref, dir, "--quiet")
	complains(t, r, "no space left on device", "TMPDIR")
	u.wholeOrAbsent(ref)
	u.tool("push", ref, dir)
	u.tool("verify", ref)
}

// TestDisks runs the verbs where a directory takes no new files for some reason.
func TestDisks(t *testing.T) {
	p := newPlay(t)
	for name, c := range map[string]struct {
		make func(t *testing.T) string // the directory
		mend func(t *testing.T, dir string)
		says string
	}{
		"no inodes": {
			make: func(t *testing.T) string {
				dir := disk(t, 40<<10, "-N", "128")
				for i := range 128 {
					if os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), nil, 0o600) != nil {
						break
					}
				}
				return dir
			},
			mend: func(t *testing.T, dir string) {
				for i := range 128 {
					_ = os.Remove(filepath.Join(dir, fmt.Sprint("f", i)))
				}
			},
			says: "no space left on device",
		},
		"read-only": {
			make: func(t *testing.T) string {
				dir := mounted(t, "-t", "tmpfs", "tmpfs")
				remount(t, dir, "ro")
				return dir
			},
			mend: func(t *testing.T, dir string) { remount(t, dir, "rw") },
			says: "read-only file system",
		},
		"full tmpfs": {
			make: func(t *testing.T) string {
				return mounted(t, "-t", "tmpfs", "-o", "size=256k", "tmpfs")
			},
			mend: func(t *testing.T, dir string) { remount(t, dir, "size=64m") },
			says: "no space left on device",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := c.make(t)
			u := newUser(t)
			for _, ref := range []string{"oci:" + dir + "/layout:v1", "oci-archive:" + dir + "/tar:v1"} {
				complains(t, u.try("push", ref, p.model, "--quiet"), c.says)
				u.wholeOrAbsent(ref)
			}
			complains(t, u.try("pull", p.store, "-o", dir+"/out", "--quiet"), c.says)
			c.mend(t, dir)
			u.tool("push", "oci:"+dir+"/layout:v1", p.model)
			u.tool("push", "oci-archive:"+dir+"/tar:v1", p.model)
			u.pulls("oci:"+dir+"/layout:v1", p.model)
			u.tool("pull", p.store, "-o", dir+"/out")
			if err := harness.Compare(p.model, dir+"/out"); err != nil {
				t.Error(err)
			}
		})
	}
}

func remount(t *testing.T, dir, option string) {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "remount,"+option, dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v, %s", err, out)
	}
}

// TestDenied runs the verbs as a user who may not write to a directory.
func TestDenied(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("becoming another user needs root")
	}
	p, u := newPlay(t), newUser(t)
	dir := t.TempDir()
	for _, name := range []string{"closed", "open"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, "open"), 0o777)); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "oras-bsm")
	u.run("cp", "-a", filepath.Join(binaries, "oras-bsm"), program)
	u.run("cp", "-r", p.model, filepath.Join(dir, "model"))
	u.run("chmod", "-R", "a+rX", dir)
	stranger := func(args ...string) *harness.Result {
		t.Helper()
		cmd := exec.Command(program, append(args, "--quiet")...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		r, err := harness.Run(cmd)
		if errors.Is(err, syscall.EPERM) {
			t.Skipf("becoming another user is not allowed here: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, args := range [][]string{{"push", "oci:DIR/layout:v1", "model"}, {"push", "oci-archive:DIR/tar:v1", "model"}, {"pull", "oci:open/layout:v1", "-o", "DIR/out"}} {
		in := func(name string) []string {
			return strings.Split(strings.ReplaceAll(strings.Join(args, " "), "DIR", name), " ")
		}
		if r := stranger(in("open")...); r.Code != 0 {
			t.Fatalf("%v: exit code %d, %s", in("open"), r.Code, r.Stderr)
		}
		complains(t, stranger(in("closed")...), "permission denied", "closed")
	}
	if left, err := os.ReadDir(filepath.Join(dir, "closed")); err != nil || len(left) > 0 {
		t.Errorf("what was closed holds %v, %v", left, err)
	}
}

// TestBadDisk has a disk fail at each kind of call. The error names the file or
// the layer, nothing is published, and the next run completes.
func TestBadDisk(t *testing.T) {
	p := newPlay(t)
	for _, s := range few(p.stages()) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			calls := newUser(t).calls(s.args(s.fresh(newUser(t)))...)
			for _, k := range pick(calls) {
				t.Run(fmt.Sprintf("call %d of %d, %s", k, len(calls), calls[k].Name), func(t *testing.T) {
					u := newUser(t)
					d, n := s.fresh(u), -1
					var at trace.Call
					r := u.traced(func(c trace.Call) (v trace.Verdict) {
						if n++; n == k {
							at, v.Err = c, syscall.EIO
						}
						return v
					}, s.args(d)...)
					t.Logf("%s %s: exit code %d, %s", at.Name, at.Path, r.Code, strings.TrimSpace(r.Stderr))
					if r.Code != 0 {
						complains(t, r, "input/output error")
						s.left(u, d)
					}
					if r.Code != 0 || at.Name == "unlinkat" { // what stays, the next run removes
						u.tool(s.args(d)...)
					}
					s.check(u, d)
					u.nothingLeft()
				})
			}
		})
	}
}
