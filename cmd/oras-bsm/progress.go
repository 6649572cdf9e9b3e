package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oras-bsm/oras-bsm/oci"
)

// The things that are told of a job's progress. They are the names of JSON
// events, too: jsonHelp.
const (
	phaseBegin    = "begin"
	phaseProgress = "progress"
	phaseEnd      = "end"
	itemBegin     = "item-begin"
	itemEnd       = "item-end"
)

// tally counts what the phases of a job have done, and tells of it. It implements
// oci.Progress.
type tally struct {
	// tell is called with mu held, for an item of p or, where i is nil, for p
	// itself.
	tell  func(what string, p *phase, i *item)
	every time.Duration // between two tellings of a phase's progress; 0: none

	mu     sync.Mutex
	phases []*phase // those in progress, oldest first
	closed bool
}

// amount is how far a phase or an item is, in bytes.
type amount struct {
	name    string
	total   int64 // 0: not known
	begun   time.Time
	moved   atomic.Int64
	skipped atomic.Int64
	over    bool // guarded by tally.mu
}

// phase is a part of a job that comes after another. It implements oci.Bar.
type phase struct {
	amount
	job   *tally
	rate  rate        // guarded by job.mu
	items []*item     // those in flight, oldest first; guarded by job.mu
	timer *time.Timer // nil where progress is not told
}

// item is one of the things that a phase works on at once. It implements oci.Bar.
type item struct {
	amount
	phase *phase
	whole oci.Bar // the phase, or the item that this is a part of
}

// Begin implements oci.Progress.
func (t *tally) Begin(name string, total int64) oci.Bar {
	p := &phase{job: t, rate: rate{last: time.Now()}}
	p.start(name, total)
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.over = t.closed; p.over {
		return p
	}
	t.phases = append(t.phases, p)
	t.tell(phaseBegin, p, nil)
	if t.every > 0 {
		p.timer = time.AfterFunc(t.every, p.tick)
	}
	return p
}

// close ends the phases that have not. Nothing is told afterwards.
func (t *tally) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.phases) > 0 {
		t.phases[0].end()
	}
	t.closed = true
}

func (a *amount) start(name string, total int64) {
	a.name, a.total, a.begun = name, max(0, total), time.Now()
}

// done is how many bytes there are no more to do.
func (a *amount) done() int64 { return a.moved.Load() + a.skipped.Load() }

// complete reports whether all bytes are done. Of a total that is not known there
// is no telling.
func (a *amount) complete() *bool {
	if a.total == 0 {
		return nil
	}
	return new(a.done() >= a.total)
}

func (a *amount) seconds() float64 { return time.Since(a.begun).Seconds() }

// Add implements oci.Bar.
func (p *phase) Add(n int64) { p.moved.Add(n) }

// Skip implements oci.Bar.
func (p *phase) Skip(n int64) { p.skipped.Add(n) }

// Item implements oci.Bar.
func (p *phase) Item(name string, total int64) oci.Bar { return p.item(p, name, total) }

// End implements oci.Bar.
func (p *phase) End() {
	p.job.mu.Lock()
	defer p.job.mu.Unlock()
	p.end()
}

// item begins an item that is a part of whole.
func (p *phase) item(whole oci.Bar, name string, total int64) oci.Bar {
	i := &item{phase: p, whole: whole}
	i.start(name, total)
	p.job.mu.Lock()
	defer p.job.mu.Unlock()
	if i.over = p.over; !i.over {
		p.items = append(p.items, i)
		p.job.tell(itemBegin, p, i)
	}
	return i
}

// end ends the phase and its items. job.mu is held.
func (p *phase) end() {
	for len(p.items) > 0 {
		p.items[0].end()
	}
	if p.over {
		return
	}
	p.over = true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.job.phases = slices.DeleteFunc(p.job.phases, func(q *phase) bool { return q == p })
	p.job.tell(phaseEnd, p, nil)
}

// tick tells of the progress, and has itself called again.
func (p *phase) tick() {
	p.job.mu.Lock()
	defer p.job.mu.Unlock()
	if !p.over {
		p.job.tell(phaseProgress, p, nil)
		p.timer.Reset(p.job.every)
	}
}

// speed is how many bytes a second are moved now. job.mu is held.
func (p *phase) speed() float64 { return p.rate.at(time.Now(), p.moved.Load()) }

// Add implements oci.Bar.
func (i *item) Add(n int64) {
	i.moved.Add(n)
	i.whole.Add(n)
}

// Skip implements oci.Bar.
func (i *item) Skip(n int64) {
	i.skipped.Add(n)
	i.whole.Skip(n)
}

// Item implements oci.Bar.
func (i *item) Item(name string, total int64) oci.Bar { return i.phase.item(i, name, total) }

// End implements oci.Bar.
func (i *item) End() {
	i.phase.job.mu.Lock()
	defer i.phase.job.mu.Unlock()
	i.end()
}

// end ends the item. job.mu is held.
func (i *item) end() {
	if i.over {
		return
	}
	i.over = true
	i.phase.items = slices.DeleteFunc(i.phase.items, func(j *item) bool { return j == i })
	i.phase.job.tell(itemEnd, i.phase, i)
}

// rate is a number of bytes a second of which the past counts the less the
// longer ago it is.
type rate struct {
	last        time.Time // when it was asked last
	n           int64     // bytes then
	sum, weight float64
}

// at returns the rate at a time at which n bytes are done.
func (r *rate) at(now time.Time, n int64) float64 {
	const memory = 5 // seconds, after which 1/e of the weight is left
	if dt := now.Sub(r.last).Seconds(); dt > 0 {
		keep := math.Exp(-dt / memory)
		r.sum = r.sum*keep + float64(n-r.n)/dt*(1-keep)
		r.weight = r.weight*keep + 1 - keep
		r.last, r.n = now, n
	}
	if r.weight == 0 {
		return 0
	}
	return max(0, r.sum/r.weight)
}

// newLines tells of progress in whole lines: one when a phase begins, one when
// it ends, and in between a few for whoever waits long. They suit logs.
func newLines(w io.Writer) *tally {
	return &tally{every: 30 * time.Second, tell: func(what string, p *phase, _ *item) {
		switch {
		case what == phaseBegin && p.total == 0:
			_, _ = fmt.Fprintln(w, p.name)
		case what == phaseBegin:
			_, _ = fmt.Fprintln(w, p.name+": "+size(p.total))
		case what == phaseProgress:
			_, _ = fmt.Fprintln(w, p.interim(p.speed()))
		case what == phaseEnd:
			_, _ = fmt.Fprintln(w, p.summary())
		}
	}}
}

// interim is a line about a phase in progress.
func (p *phase) interim(speed float64) string {
	s := p.name + ": " + part(p.done(), p.total) + ", " + size(int64(speed)) + "/s"
	if l := left(p.total-p.done(), speed); l != "" {
		s += ", " + l
	}
	return s
}

// summary is a line about a phase that is over.
func (p *phase) summary() string {
	s := p.name + ": done, " + size(p.done())
	switch {
	case p.complete() == nil:
		s = p.name + ": " + size(p.done())
	case !*p.complete():
		s = p.name + ": ended after " + part(p.done(), p.total)
	}
	if n := p.skipped.Load(); n > 0 {
		s += ", " + inPlace(n)
	}
	return s + ", " + pace(p.moved.Load(), p.seconds())
}

func inPlace(n int64) string { return size(n) + " in place" }
