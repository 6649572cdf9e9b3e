package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oras-bsm/oras-bsm/oci"
)

// broken is a job of two phases, of which the second breaks off half-way.
func broken(p oci.Progress) {
	whole := p.Begin("hashing", 4000)
	var g sync.WaitGroup
	for range 4 {
		g.Go(func() { whole.Add(1000) })
	}
	g.Wait()
	whole.End()
	half := p.Begin("encoding", 4000)
	half.Add(2000)
	half.End()
	half.End()
}

// resumed is a job of a quarter of an hour, a part of which was done before.
func resumed(p oci.Progress) {
	bar := p.Begin("pulling", 100_000_000_000)
	defer bar.End()
	a, b := bar.Item("model.layers 0", 10_000_000_000), bar.Item("model.layers 1", 90_000_000_000)
	a.Skip(10_000_000_000)
	a.End()
	time.Sleep(time.Second / 2) // between two strokes of any clock
	for range 900 {
		b.Add(100_000_000)
		time.Sleep(time.Second)
	}
	b.End()
}

func TestLines(t *testing.T) {
	var b strings.Builder
	synctest.Test(t, func(*testing.T) {
		l := newLines(&b)
		broken(l)
		l.Begin("uploading", 0).Add(10)
		l.close()
		l.Begin("too late", 10).End()
	})
	want := `hashing: 4.00 kB
hashing: done, 4.00 kB, 0.0 s
encoding: 4.00 kB
encoding: ended after 2.00 of 4.00 kB, 0.0 s
uploading
uploading: 10 B, 0.0 s
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}

// TestLinesOfLongPhases proves that whoever waits hears something every half
// minute, and that bytes that were in place do not count for the rate.
func TestLinesOfLongPhases(t *testing.T) {
	var b strings.Builder
	synctest.Test(t, func(*testing.T) {
		l := newLines(&b)
		defer l.close()
		resumed(l)
	})
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 32 {
		t.Fatalf("%d lines:\n%s", len(lines), b.String())
	}
	for i, want := range map[int]string{
		0:  "pulling: 100 GB",
		1:  "pulling: 13.0 of 100 GB, 100 MB/s, 15 m left",
		29: "pulling: 97.0 of 100 GB, 100 MB/s, 30 s left",
		31: "pulling: done, 100 GB, 10.0 GB in place, 900.5 s, 99.9 MB/s",
	} {
		if lines[i] != want {
			t.Errorf("line %d is %q, want %q", i, lines[i], want)
		}
	}
}

// TestNested proves that an item of an item counts for both and for the phase,
// once, and ends with them.
func TestNested(t *testing.T) {
	var told []string
	tal := &tally{tell: func(what string, p *phase, i *item) {
		if i != nil {
			what += " " + i.name
		}
		told = append(told, fmt.Sprintf("%s %d", what, p.done()))
	}}
	bar := tal.Begin("copying", 100)
	outer := bar.Item("model", 80)
	inner := outer.Item("layer", 40)
	inner.Add(30)
	inner.Skip(10)
	outer.Add(5)
	inner.End()
	inner.End()
	bar.End()
	outer.End()
	bar.Item("late", 1).Add(1)
	want := "begin 0, item-begin model 0, item-begin layer 0, item-end layer 45, item-end model 45, end 45"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("told %s, want %s", got, want)
	}
}

func TestRate(t *testing.T) {
	start := time.Now()
	r := rate{last: start}
	at := func(seconds float64, n int64) float64 {
		return r.at(start.Add(time.Duration(seconds*1e9)), n)
	}
	for _, c := range []struct {
		seconds float64
		n       int64
		lo, hi  float64
	}{
		{0, 0, 0, 0},
		{1, 100, 99.9, 100.1}, // the first second is as good as any
		{1, 100, 99.9, 100.1}, // asked again at once
		{2, 200, 99.9, 100.1},
		{3, 10_200, 2000, 5000}, // a burst is smoothed
		{63, 16_200, 99, 101},   // and forgotten
		{123, 16_200, 0, 1},     // nothing moves
		{124, 0, 0, 0},          // what is taken back is no speed
	} {
		if got := at(c.seconds, c.n); got < c.lo || got > c.hi {
			t.Errorf("after %v s %v, want %v to %v", c.seconds, got, c.lo, c.hi)
		}
	}
}

// TestConcurrent lets many goroutines report to every view at once.
func TestConcurrent(t *testing.T) {
	for name, view := range map[string]interface {
		oci.Progress
		close()
	}{
		"lines":  newLines(io.Discard),
		"events": newEvents(io.Discard),
		"bars":   newBars(io.Discard, func() (int, int, error) { return 80, 24, nil }),
	} {
		bar := view.Begin(name, 1000)
		var g sync.WaitGroup
		for n := range 10 {
			g.Go(func() {
				i := bar.Item(fmt.Sprint(n), 100)
				for range 100 {
					i.Add(1)
				}
				i.End()
			})
		}
		g.Wait()
		if p := bar.(*phase); !*p.complete() || p.done() != 1000 || len(p.items) != 0 {
			t.Errorf("%s: %d bytes done, %d items left", name, p.done(), len(p.items))
		}
		view.close()
	}
}
