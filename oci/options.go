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
	LayerSize int64       // largest encoded layer in bytes; 0: DefaultLayerSize
	MountFrom []Reference // repositories of the same registry that may hold layers: only their names count
}

// DefaultLayerSize is the size of an encoded layer that is not exceeded: some
// registries stop at 10 GB, or after ten minutes of upload.
const DefaultLayerSize = 2 << 30

// PullOptions are the options of Pull.
type PullOptions struct {
	Options

	Selection      // what is wanted of the model
	Verify    bool // also check the MD5 of each tensor and the sha256 of each file
}

// Progress is told about the phases of a job. Its methods may be called from
// several goroutines.
type Progress interface {
	// Begin starts a phase of total bytes, such as "hashing" or "encoding". A total
	// of 0 is one that is not known.
	Begin(phase string, total int64) Bar
}

// Bar is the progress of one phase, or of an item in it.
type Bar interface {
	// Add says that n more bytes are done.
	Add(n int64)
	// Skip says that n more bytes need not be done: an earlier attempt did, or
	// they are in place already.
	Skip(n int64)
	// Item begins a part of the phase of its own name and size, such as a layer.
	// What it adds and skips counts for the phase, too.
	Item(name string, total int64) Bar
	// End says that the phase or item is over, whether or not all its bytes were
	// done.
	End()
}

// maxJobs bounds the default of Options.Jobs, and with it memory: a job takes
// up to 30 MiB.
const maxJobs = 8

type noProgress struct{}

func (noProgress) Begin(string, int64) Bar { return noProgress{} }
func (noProgress) Item(string, int64) Bar  { return noProgress{} }
func (noProgress) Add(int64)               {}
func (noProgress) Skip(int64)              {}
func (noProgress) End()                    {}

// A portion is so many bytes of a bar, of one goroutine. What is not done of them when
// it ends is skipped, and more than that is not counted.
type portion struct {
	Bar
	left int64
}

func (p *portion) Add(n int64) {
	n = min(n, p.left)
	p.left -= n
	p.Bar.Add(n)
}

func (p *portion) End() { p.Skip(p.left) }

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
