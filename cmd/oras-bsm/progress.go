package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/oras-bsm/oras-bsm/oci"
)

// lines tells of progress in whole lines, one when a phase begins and one when
// it ends: for logs. It implements oci.Progress.
type lines struct{ w io.Writer }

type line struct {
	w     io.Writer
	phase string
	total int64
	start time.Time
	n     atomic.Int64
}

func (l *lines) Begin(phase string, total int64) oci.Bar {
	_, _ = fmt.Fprintf(l.w, "%s: %s\n", phase, size(total))
	return &line{w: l.w, phase: phase, total: total, start: time.Now()}
}

func (l *line) Add(n int64)                { l.n.Add(n) }
func (l *line) Skip(n int64)               { l.n.Add(n) }
func (l *line) Item(string, int64) oci.Bar { return item{l} }

// item is a part of a phase that is not shown by itself.
type item struct{ oci.Bar }

func (item) End() {}

func (l *line) End() {
	n, seconds := l.n.Load(), time.Since(l.start).Seconds()
	if n < l.total {
		_, _ = fmt.Fprintf(l.w, "%s: ended after %s of %s, %s\n", l.phase, size(n), size(l.total), pace(n, seconds))
		return
	}
	_, _ = fmt.Fprintf(l.w, "%s: done, %s, %s\n", l.phase, size(n), pace(n, seconds))
}

// bars draws a bar for each phase on a terminal. It implements oci.Progress,
// and io.Writer for lines that appear above the bars.
type bars struct {
	terminal io.Writer
	group    *mpb.Progress

	mu   sync.Mutex
	open []*mpb.Bar
}

type bar struct{ *mpb.Bar }

func newBars(terminal io.Writer, opts ...mpb.ContainerOption) *bars {
	opts = append(opts, mpb.WithOutput(terminal), mpb.WithWidth(80))
	return &bars{terminal: terminal, group: mpb.New(opts...)}
}

func (b *bars) Begin(phase string, total int64) oci.Bar {
	x, err := b.group.Add(max(total, 1), mpb.BarStyle().Build(),
		mpb.PrependDecorators(
			decor.Name(phase, decor.WCSyncSpaceR),
			decor.Any(func(s decor.Statistics) string { return size(s.Current) + " / " + size(s.Total) }, decor.WCSyncSpace),
		),
		mpb.AppendDecorators(
			decor.AverageSpeed(decor.SizeB1000(0), "% .1f", decor.WCSyncSpace),
			decor.OnAbortOrOnComplete(decor.AverageETA(decor.ET_STYLE_GO, decor.WCSyncSpace), ""),
		))
	if err != nil { // closed
		return (&lines{io.Discard}).Begin(phase, total)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open = append(b.open, x)
	return bar{x}
}

func (b bar) Add(n int64)                { b.IncrInt64(n) }
func (b bar) Skip(n int64)               { b.IncrInt64(n) }
func (b bar) Item(string, int64) oci.Bar { return item{b} }
func (b bar) End()                       { b.Abort(false) }

// Write writes whole lines. After close it writes to the terminal itself.
func (b *bars) Write(p []byte) (int, error) {
	if n, err := b.group.Write(p); err == nil {
		return n, nil
	}
	return b.terminal.Write(p)
}

// close ends all bars and leaves them on the terminal as they are.
func (b *bars) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.open {
		x.Abort(false)
	}
	b.group.Wait()
}
