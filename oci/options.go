package oci

import (
	"runtime"

	"github.com/oras-bsm/oras-bsm/codec"
)

// Options are common to everything that reads or writes an artifact. Nil means
// defaults.
type Options struct {
	StoreOptions

	Jobs     int              // goroutines that encode or decode; 0: one a CPU, at most 8
	Progress Progress         // told how far the work is; nil: nobody
	Warn     func(msg string) // told what a user should know; nil: nobody
}

// PushOptions are the options of Push.
type PushOptions struct {
	Options

	Level     codec.Level
	LayerSize int64 // largest encoded layer in bytes; 0: DefaultLayerSize
}

// DefaultLayerSize is the size of an encoded layer that is not exceeded: some
// registries stop at 10 GB, or after ten minutes of upload.
const DefaultLayerSize = 2 << 30

// PullOptions are the options of Pull.
type PullOptions struct {
	Options

	Verify bool // also check the MD5 of each tensor and the sha256 of each file
}

// Progress is told about the phases of a job. Its methods may be called from
// several goroutines.
type Progress interface {
	// Begin starts a phase of total bytes, such as "hashing" or "encoding".
	Begin(phase string, total int64) Bar
}

// Bar is the progress of one phase.
type Bar interface {
	Add(n int64) // n more bytes are done
	End()        // the phase is over, whether or not all its bytes were done
}

// maxJobs bounds the default of Options.Jobs, and with it memory: a job takes
// up to 30 MiB.
const maxJobs = 8

type noProgress struct{}

func (noProgress) Begin(string, int64) Bar { return noProgress{} }
func (noProgress) Add(int64)               {}
func (noProgress) End()                    {}

// withDefaults returns a copy of o in which everything is set.
func (o *Options) withDefaults() *Options {
	c := Options{}
	if o != nil {
		c = *o
	}
	if c.Jobs <= 0 {
		c.Jobs = min(maxJobs, runtime.GOMAXPROCS(0))
	}
	if c.Progress == nil {
		c.Progress = noProgress{}
	}
	if c.Warn == nil {
		c.Warn = func(string) {}
	}
	return &c
}
