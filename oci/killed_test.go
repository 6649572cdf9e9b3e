package oci

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A snapshotter is a Progress that copies the target of a pull whenever it is told
// something: what is there if the process is killed then, or a power cut loses what
// was written while it copied.
type snapshotter struct {
	t      *testing.T
	target string
	mu     sync.Mutex
	taken  map[string]string // by what was told
}

func (s *snapshotter) take(when string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for name := range s.taken {
		if strings.HasPrefix(name, when+" ") {
			n++
		}
	}
	if n > 12 {
		return
	}
	to := filepath.Join(s.t.TempDir(), "killed")
	copyTree(s.t, s.target, to)
	s.taken[when+" "+string(rune('a'+n))] = to
}

func (s *snapshotter) Begin(phase string, _ int64) Bar {
	s.take("begin " + phase)
	return snapshotBar{s, phase}
}

type snapshotBar struct {
	s     *snapshotter
	phase string
}

func (b snapshotBar) Add(int64)              { b.s.take("in " + b.phase) }
func (b snapshotBar) Skip(int64)             {}
func (b snapshotBar) Item(string, int64) Bar { return b }
func (b snapshotBar) End()                   { b.s.take("end " + b.phase) }

// copyTree copies a directory with its modes, but what goes while it copies.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(p string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name := filepath.Join(to, strings.TrimPrefix(p, from))
		if e.IsDir() {
			return os.MkdirAll(name, info.Mode().Perm())
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return os.WriteFile(name, b, info.Mode().Perm())
	})
	if err != nil {
		t.Error(err)
	}
}

// A pull that was killed at any time, while it renames too, is gone on with: the files
// are right though nobody verifies them, whatever was there before.
func TestPullKilled(t *testing.T) {
	zeros := weight("model.layers.0.attn.bias", "BF16", 256, 1)
	clear(zeros.data)
	norm := weight("model.layers.0.norm.bias", "BF16", 256, 2)
	tied := weight("model.embed_tokens.weight", "BF16", 70_000, 3)
	empty := tensorData{name: "empty", dtype: "F32", shape: []int64{0, 4}}
	as := func(x tensorData, name string) tensorData { x.name = name; return x }
	files := modelFiles{
		"model-00001-of-00003.safetensors": tensorFile(t, zeros, tied, as(zeros, "model.layers.1.attn.bias")),
		"model-00002-of-00003.safetensors": tensorFile(t, norm, empty, as(tied, "lm_head.weight")),
		"model-00003-of-00003.safetensors": tensorFile(t, blockTensors("model.layers", 1, 50)...),
		"config.json":                      []byte("{}"),
		"sub/nothing":                      {},
		"run.sh*":                          []byte("#!/bin/sh\n"),
	}
	dir := files.write(t)
	ref, _ := pushLayout(t, dir, nil)
	older := maps.Clone(files)
	delete(older, "model-00001-of-00003.safetensors")
	older["model-00003-of-00003.safetensors"] = append(files["model-00003-of-00003.safetensors"][:2000:2000], make([]byte, len(files["model-00003-of-00003.safetensors"])-2000)...)
	for name, before := range map[string]modelFiles{"new": {}, "older": older} {
		for _, jobs := range []int{1, 3} {
			s := &snapshotter{t: t, target: before.write(t), taken: map[string]string{}}
			if _, err := Pull(t.Context(), ref, s.target, &PullOptions{Options: Options{Jobs: jobs, Progress: s}}); err != nil {
				t.Fatal(err)
			}
			if len(s.taken) < 8 {
				t.Fatalf("only %d snapshots", len(s.taken))
			}
			for renames := range len(files) {
				if at := s.taken["end checking a"]; at != "" {
					to := filepath.Join(t.TempDir(), "renaming")
					copyTree(t, at, to)
					renameParts(t, ref, to, renames)
					s.taken["renaming "+string(rune('0'+renames))] = to
				}
			}
			for when, target := range s.taken {
				if _, err := Pull(t.Context(), ref, target, nil); err != nil {
					t.Errorf("%s, killed at %q: %v", name, when, err)
					continue
				}
				t.Run(name+" "+when, func(t *testing.T) { sameFiles(t, dir, target) })
			}
		}
	}
}

// renameParts gives the first n files that are in the work directory their names, as
// publish does.
func renameParts(t *testing.T, ref Reference, target string, n int) {
	t.Helper()
	work, err := filepath.Glob(filepath.Join(target, workPrefix+"*"))
	if err != nil || len(work) != 1 {
		t.Fatal(work, err)
	}
	for i, f := range openArtifact(t, ref).Index.Files {
		part, name := filepath.Join(work[0], partName(i)), filepath.Join(target, filepath.FromSlash(f.Path))
		if _, err := os.Stat(part); err != nil || n == 0 {
			continue
		}
		n--
		err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.Chmod(part, os.FileMode(f.Mode)), os.Rename(part, name))
		if err != nil {
			t.Fatal(err)
		}
	}
}
