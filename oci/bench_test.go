package oci

import (
	"crypto/md5" //nolint:gosec // the MD5 of the index
	"crypto/sha256"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/oras-bsm/oras-bsm/codec"
	weightgen "github.com/oras-bsm/oras-bsm/e2e/model"
	"github.com/oras-bsm/oras-bsm/oci/internal/multihash"
)

// cpuSeconds is the time that all threads of this process have used so far, in
// user and in system mode.
func cpuSeconds(b *testing.B) float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

// perGB runs work until the benchmark has had enough, and reports CPU seconds for
// each 10^9 of the size bytes that work handles, as they are and by those of one
// plain sha256 of as many bytes in the same run.
func perGB(b *testing.B, size int64, work func()) {
	data := make([]byte, 1<<20)
	sha256.Sum256(data)
	start := cpuSeconds(b)
	for range 256 {
		sha256.Sum256(data)
	}
	plain := (cpuSeconds(b) - start) / float64(256*len(data))
	b.SetBytes(size)
	start = cpuSeconds(b)
	n := 0
	for b.Loop() {
		work()
		n++
	}
	spent := (cpuSeconds(b) - start) / float64(int64(n)*size)
	b.ReportMetric(1e9*spent, "cpu-s/GB")
	b.ReportMetric(spent/plain, "sha256s")
}

func BenchmarkHash(b *testing.B) {
	const size = 1 << 20
	data := make([]byte, multihash.Lanes*size)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	b.Run("algo=sha256/impl=plain", func(b *testing.B) {
		perGB(b, size, func() { sha256.Sum256(data[:size]) })
	})
	b.Run("algo=sha256/impl=pair", func(b *testing.B) {
		x, y := sha256.New(), sha256.New()
		y.Write(data[:8]) // as in files: the two are at different places in a block
		perGB(b, 2*size, func() { multihash.WritePair(x, y, data[:size]) })
	})
	b.Run("algo=md5/impl=plain", func(b *testing.B) {
		perGB(b, size, func() { md5.Sum(data[:size]) })
	})
	b.Run("algo=md5/impl=lanes", func(b *testing.B) {
		var m multihash.MD5
		var msgs [multihash.Lanes][]byte
		for i := range multihash.MD5Width {
			m.Reset(i)
			msgs[i] = data[i*size:][:size]
		}
		perGB(b, int64(multihash.MD5Width)*size, func() { m.Write(&msgs, size) })
	})
}

// benchModel writes a model of 256 MiB, in memory where that can be had: disks
// have their own cost.
func benchModel(b *testing.B) (dir, model string, size int64) {
	if _, err := os.Stat("/dev/shm"); err == nil {
		b.Setenv("TMPDIR", "/dev/shm")
	}
	dir = b.TempDir()
	model = filepath.Join(dir, "model")
	if err := weightgen.Generate(model, weightgen.Options{Size: 256 << 20, Seed: 1}); err != nil {
		b.Fatal(err)
	}
	list, err := os.ReadDir(model)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range list {
		info, err := e.Info()
		if err != nil {
			b.Fatal(err)
		}
		size += info.Size()
	}
	return dir, model, size
}

func BenchmarkPush(b *testing.B) {
	dir, model, size := benchModel(b)
	b.Run("stage=hash", func(b *testing.B) {
		root, err := os.OpenRoot(model)
		if err != nil {
			b.Fatal(err)
		}
		defer root.Close()
		perGB(b, size, func() {
			ins, err := scan(root, model, func(string) {})
			if err == nil {
				err = hashInputs(b.Context(), ins, 2, noProgress{})
			}
			if err != nil {
				b.Fatal(err)
			}
		})
	})
	ref, err := ParseReference("oci:"+filepath.Join(dir, "layout")+":v1", false)
	if err != nil {
		b.Fatal(err)
	}
	for _, level := range []codec.Level{codec.Default, codec.Max} {
		b.Run("level="+level.String(), func(b *testing.B) {
			perGB(b, size, func() {
				if _, err := Push(b.Context(), ref, model, &PushOptions{Level: level}); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
	b.Run("verify", func(b *testing.B) {
		perGB(b, size, func() {
			if _, err := Verify(b.Context(), ref, nil); err != nil {
				b.Fatal(err)
			}
		})
	})
}
