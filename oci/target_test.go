package oci

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPushReplacesOnlyItsOwnArchive proves that a mistyped archive costs nothing.
func TestPushReplacesOnlyItsOwnArchive(t *testing.T) {
	dir, tmp := smallModel(t).write(t), t.TempDir()
	notes, archive := filepath.Join(tmp, "notes.txt"), filepath.Join(tmp, "m.tar")
	if err := os.WriteFile(notes, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	push := func(name string) error {
		_, err := Push(t.Context(), parseRef(t, "oci-archive:"+name), dir, nil)
		return err
	}
	if err := push(notes + ":v1"); err == nil || !strings.Contains(err.Error(), "choose another name") {
		t.Errorf("push over a text file: %v", err)
	}
	if b, _ := os.ReadFile(notes); string(b) != "mine" {
		t.Errorf("the text file holds %q", b)
	}
	if err := push(archive + ":v1"); err != nil {
		t.Fatal(err)
	}
	if err := push(archive + ":v1"); err != nil {
		t.Errorf("push over an archive of the same tag: %v", err)
	}
	if err := push(archive + ":v2"); err == nil || !strings.Contains(err.Error(), `holds "v1"`) {
		t.Errorf("push over an archive of another tag: %v", err)
	}
	if _, err := Verify(t.Context(), parseRef(t, "oci-archive:"+archive+":v1"), nil); err != nil {
		t.Error(err)
	}
}

// TestPushRefusesTargetInside proves that a store does not become part of the
// model that is pushed to it.
func TestPushRefusesTargetInside(t *testing.T) {
	dir := smallModel(t).write(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	before := entries(t, dir)
	for _, ref := range []string{
		"oci:" + dir + ":v1", "oci:" + dir + "/store:v1", "oci-archive:" + dir + "/m.tar:v1", "oci:" + link + "/store:v1",
	} {
		if _, err := Push(t.Context(), parseRef(t, ref), dir, nil); err == nil || !strings.Contains(err.Error(), "inside") {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if after := entries(t, dir); len(after) != len(before) {
		t.Errorf("the directory has %d files, it had %d", len(after), len(before))
	}
	// Beside it, under a name that begins alike, is outside.
	if _, err := Push(t.Context(), parseRef(t, "oci:"+dir+".store:v1"), dir, nil); err != nil {
		t.Error(err)
	}
}

// TestPushSkipsWorkDirs proves that what a killed pull left is no part of a model.
func TestPushSkipsWorkDirs(t *testing.T) {
	m := smallModel(t)
	clean, littered := m.write(t), m.write(t)
	left := filepath.Join(littered, workPrefix+"DEAD")
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "000000"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, a := pushLayout(t, clean, nil)
	_, b := pushLayout(t, littered, nil)
	if a.Digest != b.Digest {
		t.Errorf("digest %s with a work directory, %s without", b.Digest, a.Digest)
	}
}

// TestPullNeedsFewOpenFiles pulls more files than the process may open.
func TestPullNeedsFewOpenFiles(t *testing.T) {
	dir := t.TempDir()
	for i := range 300 {
		if err := os.WriteFile(filepath.Join(dir, partName(i)), []byte{byte(i)}, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ref, _ := pushLayout(t, dir, nil)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = 100
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Skip("the limit of open files cannot be lowered: ", err)
	}
	out := filepath.Join(t.TempDir(), "out")
	_, err := Pull(t.Context(), ref, out, &PullOptions{Verify: true})
	if err := errors.Join(err, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, dir, out)
}
