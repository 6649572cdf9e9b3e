package main

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/cupwriter"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

const (
	frameTime = 150 * time.Millisecond // between two frames
	mostItems = 8                      // that are shown
)

// bars has mpb show the phases in progress and their items on the last lines of
// a terminal. It is an io.Writer for whole lines that appear above.
type bars struct {
	tally
	console console
	group   *mpb.Progress
	rows    []*row // from the top; guarded by mu
}

// row is a bar of mpb. What it shows changes as items end, because mpb shows a
// bar that ended for one frame more: rows would come and go.
type row struct {
	bar  *mpb.Bar
	view atomic.Pointer[view]
}

// view is what a row shows: nothing where there is no amount.
type view struct {
	*amount
	name  string
	notes string // on a line of their own, if there are any
}

// newBars draws on a terminal of which size tells the columns and rows.
func newBars(terminal io.Writer, size func() (width, height int, err error)) *bars {
	b := &bars{console: console{cupwriter.New(leftmost{terminal}, true), size}}
	b.group = mpb.New(mpb.WithConsoleWriter(b.console), mpb.WithRefreshRate(frameTime))
	b.every = frameTime
	b.tell = func(what string, p *phase, _ *item) {
		switch what {
		case phaseProgress:
			b.arrange()
		case phaseEnd:
			b.arrange()
			_, _ = b.write([]byte(p.summary() + "\n"))
		}
	}
	return b
}

// Write implements io.Writer.
func (b *bars) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.write(p)
}

// write writes lines above the rows or, when mpb has ended, instead of them. mu is
// held.
func (b *bars) write(p []byte) (int, error) {
	if n, err := b.group.Write(p); err == nil {
		return n, nil
	}
	b.group.Wait()
	_, _ = b.console.Write(p)
	return len(p), b.console.Flush(0)
}

// close ends all phases and leaves a line about each on the terminal.
func (b *bars) close() {
	b.tally.close()
	b.group.Wait()
	_, _ = b.Write(nil) // mpb keeps what it was given after its last frame
}

// arrange gives the rows what they are to show. mu is held, also while mpb draws:
// what it calls takes no lock.
func (b *bars) arrange() {
	_, height, _ := b.console.size()                 // 0 where the terminal went away
	room := min(mostItems, height-1-2*len(b.phases)) // the cursor needs a line, too
	var views []*view
	for _, p := range b.phases {
		views = append(views, &view{&p.amount, p.name, p.notes()})
		for _, i := range p.items[:max(0, min(room, len(p.items)))] {
			views = append(views, &view{&i.amount, "  " + escape(i.name), ""})
			room--
		}
	}
	for n, v := range views {
		if n == len(b.rows) {
			r, err := newRow(b.group, n)
			if err != nil { // mpb found the terminal gone
				return
			}
			b.rows = append(b.rows, r)
		}
		b.rows[n].view.Store(v)
	}
	for _, r := range b.rows[len(views):] {
		r.view.Store(&view{})
		r.bar.Abort(true)
	}
	b.rows = b.rows[:len(views)]
}

// notes is what there is to say of a phase beside its bar. job.mu is held.
func (p *phase) notes() string {
	speed := p.speed()
	notes := []string{"  " + size(int64(speed)) + "/s"}
	if l := left(p.total-p.done(), speed); l != "" {
		notes = append(notes, l)
	}
	if n := p.skipped.Load(); n > 0 {
		notes = append(notes, inPlace(n))
	}
	return strings.Join(notes, ", ")
}

// newRow adds the nth row. mpb does not know its total, or it would end the bar.
func newRow(group *mpb.Progress, n int) (_ *row, err error) {
	r := &row{}
	r.view.Store(&view{})
	style := mpb.BarStyle().Build()
	bar := func(w io.Writer, s decor.Statistics) error {
		v := r.view.Load()
		if v.amount == nil || v.total == 0 {
			_, err := fmt.Fprintf(w, "%*s", s.AvailableWidth, "")
			return err
		}
		s.Total, s.Current, s.Refill = v.total, v.done(), v.skipped.Load()
		return style.Fill(w, s)
	}
	name := func(s decor.Statistics) string { return tail(r.view.Load().name, s.AvailableWidth/3) }
	done := func(decor.Statistics) string {
		if v := r.view.Load(); v.amount != nil {
			return part(v.done(), v.total)
		}
		return ""
	}
	notes := func(w io.Writer, s decor.Statistics) (err error) {
		if v := r.view.Load(); v.notes != "" {
			_, err = fmt.Fprintln(w, runewidth.Truncate(v.notes, s.AvailableWidth, "…"))
		}
		return err
	}
	r.bar, err = group.Add(0, mpb.BarFillerFunc(bar), mpb.BarPriority(n),
		mpb.PrependDecorators(decor.Any(name, decor.WCSyncWidthR)),
		mpb.AppendDecorators(decor.Any(done, decor.WCSyncWidth)),
		mpb.BarBtmExtender(mpb.BarFillerFunc(notes)))
	return r, err
}

// tail shortens s to so many columns from the left: names differ in their ends.
func tail(s string, width int) string {
	if over := runewidth.StringWidth(s) - width; over > 0 {
		return runewidth.TruncateLeft(s, over+runewidth.StringWidth("…"), "…")
	}
	return s
}

// console tells mpb how large the terminal is.
type console struct {
	*cupwriter.Writer
	size func() (width, height int, err error)
}

func (console) IsTerminal() bool { return true }

// GetTermSize implements mpb.ConsoleWriter. mpb miscounts lines when it leaves
// some out, and takes notes that there are none of for one: arrange knows better.
func (c console) GetTermSize() (width, height int, err error) {
	width, height, err = c.size()
	return width, 2 * height, err
}

// leftmost writes from the first column on, wherever the echo of a key such as
// ^C left the cursor.
type leftmost struct{ io.Writer }

func (l leftmost) Write(p []byte) (int, error) {
	n, err := l.Writer.Write(append([]byte{'\r'}, p...))
	return max(0, n-1), err
}
