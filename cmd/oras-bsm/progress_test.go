package main

import (
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/vbauerster/mpb/v8"

	"github.com/oras-bsm/oras-bsm/oci"
)

// work is a job of two phases, the second of which breaks off half-way.
func work(p oci.Progress) {
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
}

func TestLines(t *testing.T) {
	var b strings.Builder
	work(&lines{&b})
	want := regexp.MustCompile(`^hashing: 4\.00 kB
hashing: done, 4\.00 kB, [0-9.]+ s.*
encoding: 4\.00 kB
encoding: ended after 2\.00 kB of 4\.00 kB, [0-9.]+ s.*
$`)
	if !want.MatchString(b.String()) {
		t.Errorf("got\n%s", b.String())
	}
}

// TestBars draws on a terminal that is none. What is left on it at the end are
// the warnings and the bars as far as they came.
func TestBars(t *testing.T) {
	var terminal strings.Builder
	b := newBars(&terminal, mpb.WithAutoRefresh())
	work(b)
	open := b.Begin("left open", 0)
	if _, err := b.Write([]byte("warning: above\n")); err != nil {
		t.Error(err)
	}
	b.close()
	open.Add(1)
	open.End()
	late := b.Begin("too late", 10)
	late.Add(10)
	late.End()
	if _, err := b.Write([]byte("warning: after\n")); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"warning: above\n", "4.00 kB / 4.00 kB", "2.00 kB / 4.00 kB", "left open", "warning: after\n"} {
		if !strings.Contains(terminal.String(), want) {
			t.Errorf("no %q in\n%s", want, terminal.String())
		}
	}
	if strings.Contains(terminal.String(), "too late") {
		t.Errorf("a bar was drawn after close:\n%s", terminal.String())
	}
}
