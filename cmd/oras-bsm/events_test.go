package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/oci"
)

// parseEvents parses what was written under --json to standard error, of which
// every line must be an event and nothing else.
func parseEvents(t *testing.T, s string) []event {
	t.Helper()
	var list []event
	for sc := bufio.NewScanner(strings.NewReader(s)); sc.Scan(); {
		var e event
		if err := json.Unmarshal(sc.Bytes(), &e, json.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("%s: %v", sc.Text(), err)
		}
		if e.Time.IsZero() || e.Time.Location() != time.UTC {
			t.Errorf("%s: time is %v", sc.Text(), e.Time)
		}
		list = append(list, e)
	}
	if s != "" && !strings.HasSuffix(s, "\n") {
		t.Errorf("the last line has no end: %q", s)
	}
	return list
}

// TestEvents proves that each event has exactly the fields that the help says.
func TestEvents(t *testing.T) {
	var b strings.Builder
	synctest.Test(t, func(*testing.T) {
		a := &app{json: true, stderr: &b}
		o, done, err := a.work()
		if err != nil {
			t.Fatal(err)
		}
		resumed(o.Progress)
		broken(o.Progress)
		o.Progress.Begin("left open", 10)
		o.Warn("a\nb\u202e\xff")
		done()
		a.complain(&cobra.Command{Use: "oras-bsm"}, fmt.Errorf("layer 3: %w", oci.ErrCorrupt))
	})
	seen := map[string]int{}
	var last event
	for _, e := range parseEvents(t, b.String()) {
		var got []string
		for f, v := range reflect.ValueOf(e).Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); !v.IsZero() && name != "time" && name != "event" {
				got = append(got, name)
			}
		}
		want := documented(e.Event)
		slices.Sort(got)
		slices.Sort(want)
		if d := gocmp.Diff(want, got); d != "" {
			t.Errorf("%s: fields (-documented +got):\n%s", e.Event, d)
		}
		if n := seen[e.Event]; n > 0 && e.Event == phaseProgress && e.Time.Sub(last.Time) < time.Second {
			t.Errorf("progress at %v and at %v", last.Time, e.Time)
		}
		if e.Event == phaseProgress {
			last = e
		}
		seen[e.Event]++
	}
	if n := seen[phaseProgress]; n != 900 {
		t.Errorf("%d events of progress in 900 s", n)
	}
	delete(seen, phaseProgress)
	want := map[string]int{phaseBegin: 4, phaseEnd: 4, itemBegin: 2, itemEnd: 2, "warning": 1, "error": 1}
	if d := gocmp.Diff(want, seen); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
	if !strings.Contains(b.String(), `"message":"a\nb\u202e`) {
		t.Errorf("no warning with its escapes in\n%s", b.String())
	}
}

// documented returns the fields of an event beside time and event, by the help.
func documented(name string) []string {
	_, rest, ok := strings.Cut(jsonHelp, "\n"+name+" ")
	_, rest, _ = strings.Cut(rest, "\n")
	line, _, _ := strings.Cut(rest, "\n")
	if !ok {
		return nil
	}
	return strings.Fields(strings.NewReplacer(",", " ", "and mostly", " ").Replace(line))
}

// TestEventFieldsAreDocumented compares the help with the struct.
func TestEventFieldsAreDocumented(t *testing.T) {
	for f := range reflect.TypeFor[event]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !strings.Contains(jsonHelp, "\n  "+name+"  ") {
			t.Errorf("field %s is not in the help", name)
		}
	}
}

// TestEventNumbers follows the sizes through a phase that goes on where another
// stopped.
func TestEventNumbers(t *testing.T) {
	var b strings.Builder
	synctest.Test(t, func(*testing.T) {
		v := newEvents(&b)
		defer v.close()
		resumed(v)
	})
	for _, e := range parseEvents(t, b.String()) {
		switch e.Event {
		case phaseBegin:
			if *e.Total != 100e9 {
				t.Errorf("begins with %d bytes", *e.Total)
			}
		case phaseProgress:
			if *e.Skipped != 10e9 || *e.Done <= 10e9 || *e.Rate < 99e6 || *e.Rate > 101e6 {
				t.Errorf("%d bytes done, %d skipped, %d a second", *e.Done, *e.Skipped, *e.Rate)
			}
		case itemEnd:
			if !*e.Complete || *e.Done != *e.Size {
				t.Errorf("%s ends with %d of %d bytes", e.Name, *e.Done, *e.Size)
			}
		case phaseEnd:
			if !*e.Complete || *e.Done != 100e9 || *e.Skipped != 10e9 || *e.Seconds != 900.5 {
				t.Errorf("ends with %d bytes, %d skipped, after %v s", *e.Done, *e.Skipped, *e.Seconds)
			}
		}
	}
}

// TestErrorEvents proves that a script can tell failures apart as a shell can.
func TestErrorEvents(t *testing.T) {
	for _, c := range []struct {
		err     error
		code    int
		hint    string // a part of it
		message string // "": that of err
	}{
		{errors.New("any"), exitFailure, "", ""},
		{fmt.Errorf("reading: %w", context.Canceled), exitInterrupted, "", "interrupted"},
		{&usageError{err: errors.New("no such flag")}, exitUsage, "oras-bsm --help", ""},
		{codec.ErrUnsupported, exitUnsupported, "update", ""},
		{errors.New("bad \xff name"), exitFailure, "", "bad \ufffd name"},
	} {
		var b strings.Builder
		a := &app{json: true, stderr: &b}
		a.complain(&cobra.Command{Use: "oras-bsm"}, c.err)
		e := parseEvents(t, b.String())[0]
		if e.Event != "error" || e.Code != c.code || !strings.Contains(e.Hint, c.hint) || (c.hint == "") != (e.Hint == "") {
			t.Errorf("%v became %+v", c.err, e)
		}
		if want := cmp.Or(c.message, c.err.Error()); e.Message != want {
			t.Errorf("message %q, want %q", e.Message, want)
		}
	}
}
