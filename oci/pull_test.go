package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/oras-bsm/oras-bsm/codec"
	weightgen "github.com/oras-bsm/oras-bsm/e2e/model"
	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// A newer version of a model replaces the files of an older one, modes
// included; other files stay.
func TestPullOverOldVersion(t *testing.T) {
	files := smallModel(t)
	old, _ := pushLayout(t, files.write(t), nil)
	newer := maps.Clone(files)
	newer["config.json"] = []byte(`{"newer":true}`)
	newer["tokenizer.json*"] = files["tokenizer.json"]
	delete(newer, "tokenizer.json")
	delete(newer, "onnx/model.bin")
	newer["onnx/other.bin"] = noise(10, 1)
	newDir := newer.write(t)
	ref, _ := pushLayout(t, newDir, nil)

	dir := pullNew(t, old, nil)
	writeFileT(t, filepath.Join(dir, "mine.txt"), "mine")
	before := entries(t, dir)
	if _, err := Pull(t.Context(), ref, dir, nil); err != nil {
		t.Fatal(err)
	}
	want := entries(t, newDir)
	want["mine.txt"] = before["mine.txt"]
	want["onnx/model.bin"] = before["onnx/model.bin"]
	if diff := cmp.Diff(want, entries(t, dir)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What lies in the target may have been put there by someone else.
func TestPullPlantedLinks(t *testing.T) {
	ref, _ := pushLayout(t, smallModel(t).write(t), nil)
	for _, tt := range []struct {
		name  string
		plant func(dir, outside string) error
		fails bool
	}{
		{"file is a link to a file", func(dir, outside string) error {
			return os.Symlink(filepath.Join(outside, "victim"), filepath.Join(dir, "config.json"))
		}, false},
		{"file is a hard link", func(dir, outside string) error {
			return os.Link(filepath.Join(outside, "victim"), filepath.Join(dir, "config.json"))
		}, false},
		{"file is a dangling link", func(dir, outside string) error {
			return os.Symlink(filepath.Join(outside, "new"), filepath.Join(dir, "tokenizer.json"))
		}, false},
		{"file is a FIFO", func(dir, _ string) error { return unix.Mkfifo(filepath.Join(dir, "config.json"), 0o600) }, false},
		{"directory is a link out", func(dir, outside string) error {
			return os.Symlink(outside, filepath.Join(dir, "onnx"))
		}, true},
		{"directory is a relative link out", func(dir, outside string) error {
			return os.Symlink("../"+filepath.Base(outside), filepath.Join(dir, "unet"))
		}, true},
		{"inner directory is a link out", func(dir, outside string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "unet"), 0o755), os.Symlink(outside, filepath.Join(dir, "unet", "empty")))
		}, true},
		{"file is a link to a directory", func(dir, outside string) error {
			return os.Symlink(outside, filepath.Join(dir, "config.json"))
		}, false},
		{"file is a directory", func(dir, _ string) error { return os.Mkdir(filepath.Join(dir, "tokenizer.json"), 0o755) }, true},
		{"directory is a file", func(dir, _ string) error { return os.WriteFile(filepath.Join(dir, "unet"), nil, 0o600) }, true},
		{"work directory is a link out", func(dir, outside string) error {
			return os.Symlink(outside, filepath.Join(dir, workPrefix+"ABC"))
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			top := t.TempDir()
			dir, outside := filepath.Join(top, "target"), filepath.Join(top, "outside")
			for _, d := range []string{dir, outside} {
				if err := os.Mkdir(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			writeFileT(t, filepath.Join(outside, "victim"), "untouched")
			writeFileT(t, filepath.Join(dir, "convert.sh"), "old")
			if err := tt.plant(dir, outside); err != nil {
				t.Fatal(err)
			}
			before, old := entries(t, outside), entries(t, dir)
			_, err := Pull(t.Context(), ref, dir, nil)
			if diff := cmp.Diff(before, entries(t, outside)); diff != "" {
				t.Errorf("changed outside the target:\n%s", diff)
			}
			if (err != nil) != tt.fails {
				t.Errorf("error %v", err)
			}
			if err == nil {
				return
			}
			if _, ok := errors.AsType[*Error](err); !ok || errors.Is(err, ErrCorrupt) {
				t.Errorf("error %v", err)
			}
			sameButEmptyDirs(t, old, entries(t, dir))
		})
	}
}

// sameButEmptyDirs compares the entries of a directory before and after a pull
// that failed.
func sameButEmptyDirs(t *testing.T, before, after map[string]string) {
	t.Helper()
	maps.DeleteFunc(after, func(name, _ string) bool {
		_, ok := before[name]
		return !ok && strings.HasSuffix(name, "/") && !strings.Contains(name, workPrefix)
	})
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the target changed:\n%s", diff)
	}
}

// Another process swaps a directory for a link out and back all the time.
func TestPullSwappedDirectory(t *testing.T) {
	ref, _ := pushLayout(t, modelFiles{"sub/config.json": []byte("{}")}.write(t), nil)
	top := t.TempDir()
	dir, outside := filepath.Join(top, "target"), filepath.Join(top, "outside")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(outside, 0o755)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	swapped := make(chan int)
	go func() {
		n := 0
		sub := filepath.Join(dir, "sub")
		for ; ctx.Err() == nil; n++ {
			_ = os.Symlink(outside, sub)
			_ = os.Remove(sub)
			_ = os.Mkdir(sub, 0o755)
			_ = os.RemoveAll(sub)
		}
		swapped <- n
	}()
	for range 100 {
		_, _ = Pull(t.Context(), ref, dir, nil) // may fail or not
	}
	stop()
	if n := <-swapped; n == 0 {
		t.Error("nothing was swapped")
	}
	if got := entries(t, outside); len(got) != 0 {
		t.Errorf("outside the target there are %v", got)
	}
}

// A target that cannot be written is a fault of the machine, with the place in
// the error.
func TestPullTargetFails(t *testing.T) {
	ref, _ := pushLayout(t, smallModel(t).write(t), nil)
	file := filepath.Join(t.TempDir(), "file")
	writeFileT(t, file, "in the way")
	readOnly := filepath.Join(t.TempDir(), "read-only")
	if err := os.Mkdir(readOnly, 0o555); err != nil {
		t.Fatal(err)
	}
	targets := map[string]error{file: unix.ENOTDIR, filepath.Join(file, "below"): unix.ENOTDIR, "/proc/self/fdinfo": nil}
	if os.Getuid() != 0 { // root may write there
		targets[readOnly] = fs.ErrPermission
	}
	for dir, want := range targets {
		_, err := Pull(t.Context(), ref, dir, nil)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Object != dir || want != nil && !errors.Is(err, want) || errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: error %v", dir, err)
		}
	}
	if got := readFileT(t, file); got != "in the way" {
		t.Errorf("the file holds %q", got)
	}
}

// What a killed pull left is removed by the next, but not what another pull is
// writing.
func TestPullRemovesAbandoned(t *testing.T) {
	ref, _ := pushLayout(t, smallModel(t).write(t), nil)
	dir := t.TempDir()
	writeFileT(t, filepath.Join(dir, workPrefix+"DEAD", "000000"), "half a file")
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	live, err := newWorkDir(root, "LIVE")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Pull(t.Context(), ref, dir, nil); err != nil {
		t.Fatal(err)
	}
	var left []string
	for name := range entries(t, dir) {
		if strings.HasPrefix(name, workPrefix) {
			left = append(left, name)
		}
	}
	if len(left) != 1 || left[0] != live.name+"/" {
		t.Errorf("left are %v, want %s alone", left, live.name)
	}
	live.remove()
}

// withoutWork leaves out what a pull that failed keeps for the next.
func withoutWork(entries map[string]string) map[string]string {
	maps.DeleteFunc(entries, func(name, _ string) bool { return strings.Contains(name, workPrefix) })
	return entries
}

func TestPullCanceled(t *testing.T) {
	dir := smallModel(t).write(t)
	registry := startRegistry(t)
	for _, where := range []string{"oci:" + filepath.Join(t.TempDir(), "layout"), registry + "/org/model:v1"} {
		ref := parseRef(t, where)
		if _, err := Push(t.Context(), ref, dir, nil); err != nil {
			t.Fatal(err)
		}
		for _, phase := range []string{"", "pulling", "bytes", "checking", "verifying", "verified bytes"} {
			ctx, cancel := context.WithCancel(t.Context())
			if phase == "" {
				cancel()
			}
			target := t.TempDir()
			writeFileT(t, filepath.Join(target, "config.json"), "old")
			before := entries(t, target)
			o := Options{Progress: at(phase, cancel)}
			if strings.HasSuffix(phase, "bytes") {
				o.Progress = firstBytes{f: cancel}
			}
			var err error
			if strings.HasPrefix(phase, "verif") {
				_, err = Verify(ctx, ref, &o)
			} else {
				_, err = Pull(ctx, ref, target, &PullOptions{Options: o, Verify: true})
			}
			if !errors.Is(err, context.Canceled) || errors.Is(err, ErrCorrupt) {
				t.Errorf("canceled at %q: error %v", phase, err)
			}
			if diff := cmp.Diff(before, withoutWork(entries(t, target))); diff != "" {
				t.Errorf("canceled at %q, the target changed:\n%s", phase, diff)
			}
			cancel()
		}
	}
}

// A few bytes can decode to more than there is room for.
func TestPullNoSpace(t *testing.T) {
	ref, _ := pushLayout(t, forgedModel(t).write(t), nil)
	f := takeApart(t, ref)
	zeros, err := codec.NewEncoder(codec.Default).Encode(nil, codec.Bytes, make([]byte, codec.Bytes.ChunkSize()), codec.Geometry{})
	if err != nil {
		t.Fatal(err)
	}
	const n, times = 2000, 2000
	l := forgedLayer{mediaType: mediatypes.FilesLayer, prologue: f.layers[filesLayer].prologue, chunks: slices.Repeat([][]byte{zeros}, n)}
	size := n * int64(codec.Bytes.ChunkSize())
	f.layers = append(f.layers, l)
	f.index.Layers = append(f.index.Layers, mediatypes.Layer{Decoded: size})
	for i := range 100 { // 400 TB
		x := mediatypes.File{Path: fmt.Sprintf("bomb%d", i), Size: size * times, Mode: 0o644, SHA256: strings.Repeat("0", 64)}
		x.Segments = slices.Repeat([]mediatypes.Segment{{Layer: len(f.layers) - 1, Length: size}}, times)
		f.index.Files = append(f.index.Files, x)
	}
	target := t.TempDir()
	_, err = Pull(t.Context(), f.write(), target, nil)
	if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, unix.ENOSPC) || e.Object != target {
		t.Errorf("error %v", err)
	}
	if left := entries(t, target); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
}

// A reference that is not there, and a reference to something else.
func TestPullNotFound(t *testing.T) {
	ref, _ := pushLayout(t, modelFiles{"a": []byte("a")}.write(t), nil)
	registry := startRegistry(t)
	for _, where := range []string{
		ref.String() + "x",
		"oci:" + ref.path + "@sha256:" + strings.Repeat("0", 64),
		registry + "/org/none:v1",
	} {
		target := filepath.Join(t.TempDir(), "new")
		if _, err := Pull(t.Context(), parseRef(t, where), target, nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: error %v", where, err)
		} else if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("%s: error %v", where, err)
		}
		if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the target was made: %v", where, err)
		}
	}
}

// heapPeak runs f and returns how large the heap grew meanwhile.
func heapPeak(t *testing.T, f func()) int64 {
	t.Helper()
	runtime.GC()
	var start runtime.MemStats
	runtime.ReadMemStats(&start)
	var peak atomic.Uint64
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var m runtime.MemStats
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapAlloc))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	f()
	close(done)
	<-ended
	return int64(peak.Load()) - int64(start.HeapAlloc)
}

// The memory of push, pull and verify does not grow with the model.
func TestMemory(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("192 MiB of weights take a while")
	}
	dir := t.TempDir()
	if err := weightgen.Generate(dir, weightgen.Options{Size: 192 << 20, Shards: 2, Layers: 6}); err != nil {
		t.Fatal(err)
	}
	const most = 160 << 20
	ref := parseRef(t, "oci:"+filepath.Join(t.TempDir(), "layout"))
	o := Options{Jobs: 2}
	for _, tt := range []struct {
		name string
		run  func() error
	}{
		{"push", func() error { _, err := Push(t.Context(), ref, dir, &PushOptions{Options: o}); return err }},
		{"pull", func() error {
			_, err := Pull(t.Context(), ref, filepath.Join(t.TempDir(), "new"), &PullOptions{Options: o, Verify: true})
			return err
		}},
		{"verify", func() error { _, err := Verify(t.Context(), ref, &o); return err }},
	} {
		var err error
		peak := heapPeak(t, func() { err = tt.run() })
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: peak heap %d MiB", tt.name, peak>>20)
		if peak > most {
			t.Errorf("%s: the heap grew by %d MiB, want at most %d", tt.name, peak>>20, most>>20)
		}
	}
}
