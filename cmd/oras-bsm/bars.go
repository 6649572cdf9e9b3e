package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
)

const (
	frameTime = 100 * time.Millisecond // between two frames
	mostItems = 8                      // that are shown, the others are counted
	minBar    = 7                      // columns of a bar, its ends included

	// What a terminal obeys, from the cursor on.
	clearLine  = "\x1b[K"
	clearBelow = "\x1b[J"
)

// bars draws the phases in progress and their items on the last lines of a
// terminal. It is an io.Writer for whole lines that appear above.
type bars struct {
	tally
	terminal io.Writer
	size     func() (width, height int, err error)
	next     *time.Timer // draws
	drawn    []string    // rows of the last frame; guarded by mu
}

// newBars draws on a terminal of which size tells the columns and rows.
func newBars(terminal io.Writer, size func() (width, height int, err error)) *bars {
	b := &bars{terminal: terminal, size: size}
	b.tell = func(what string, p *phase, _ *item) {
		if what == phaseEnd {
			_ = b.draw(p.summary() + "\n")
		}
	}
	b.next = time.AfterFunc(frameTime, b.frame)
	return b
}

// frame draws, and has itself called again.
func (b *bars) frame() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		_ = b.draw("")
		b.next.Reset(frameTime)
	}
}

// Write implements io.Writer.
func (b *bars) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(p), b.draw(string(p))
}

// close ends all phases and leaves a line about each on the terminal.
func (b *bars) close() {
	b.tally.close()
	b.next.Stop()
}

// draw draws a frame over the last one, in one piece, with whole lines above it.
// mu is held.
func (b *bars) draw(above string) error {
	var rows []string
	up := len(b.drawn)
	if width, height, err := b.size(); err == nil { // else it went away
		rows = picture(b.phases, width-1, height-1)
		up = 0
		for _, row := range b.drawn { // it may have become narrower
			up += max(1, (runewidth.StringWidth(row)+width-1)/max(1, width))
		}
		up = min(up, height-1)
	}
	var s strings.Builder
	if up > 0 { // the cursor may be anywhere in its line: keys are echoed
		fmt.Fprintf(&s, "\r\x1b[%dA", up)
	}
	if up > 0 && above != "" {
		s.WriteString(clearBelow)
	}
	s.WriteString(above)
	// Line by line: tmux takes a screen that is cleared as a whole into its history.
	for _, row := range rows {
		s.WriteString(clearLine + row + "\n")
	}
	if up > 0 {
		s.WriteString(clearBelow)
	}
	b.drawn = rows
	if s.Len() == 0 {
		return nil
	}
	_, err := io.WriteString(b.terminal, s.String())
	return err
}

// picture returns the rows that show phases in so many columns and rows. The
// mutex of their job is held.
func picture(phases []*phase, width, height int) []string {
	room := min(mostItems, height-2*len(phases)) // a phase has a row, and one for notes
	var rows []string
	for _, p := range phases {
		shown := p.items[:max(0, min(room, len(p.items)))]
		room -= len(shown)
		rows = append(rows, p.rows(shown, width)...)
	}
	return rows[:max(0, min(height, len(rows)))]
}

// layout is how wide the columns of a phase's rows are. Columns are two apart;
// one of width 0 is left out.
type layout struct {
	name, bar, amount, rate, left int
}

// fit chooses the columns for rows whose names are name wide. What is left out
// finds a place in the notes.
func fit(name, width int) layout {
	l := layout{name: min(name, width/3), amount: len("9.99 of 9.99 GB"), rate: len("9.99 GB/s"), left: len("99 m left")}
	for _, drop := range []*int{nil, &l.rate, &l.left, &l.bar} {
		if drop != nil {
			*drop = 0
		}
		l.bar = width
		for _, w := range []int{l.name, l.amount, l.rate, l.left} {
			if w > 0 {
				l.bar -= w + 2
			}
		}
		if l.bar >= minBar {
			return l
		}
	}
	l.bar = 0
	return l
}

// rows returns the row of the phase, those of the items to be shown, and one
// for notes if there are any.
func (p *phase) rows(shown []*item, width int) []string {
	speed := p.speed()
	longest := runewidth.StringWidth(p.name)
	for _, i := range shown {
		longest = max(longest, 2+runewidth.StringWidth(escape(i.name)))
	}
	l := fit(longest, width)
	pace, eta := size(int64(speed))+"/s", left(p.total-p.done(), speed)
	rows := []string{l.row(p.name, &p.amount, pace, eta, width)}
	for _, i := range shown {
		rows = append(rows, l.row("  "+tail(escape(i.name), l.name-2), &i.amount, "", "", width))
	}
	var notes []string
	if l.rate == 0 {
		notes = append(notes, pace)
	}
	if l.left == 0 && eta != "" {
		notes = append(notes, eta)
	}
	if n := p.skipped.Load(); n > 0 {
		notes = append(notes, inPlace(n))
	}
	if n := len(p.items) - len(shown); n > 0 {
		notes = append(notes, strconv.Itoa(n)+" more")
	}
	if len(notes) > 0 {
		rows = append(rows, cut("  "+strings.Join(notes, ", "), width))
	}
	return rows
}

// row returns one row, at most width columns wide.
func (l layout) row(name string, a *amount, pace, eta string, width int) string {
	cells := []string{runewidth.FillRight(tail(name, l.name), l.name)}
	if l.bar > 0 {
		cells = append(cells, a.bar(l.bar))
	}
	cells = append(cells, runewidth.FillLeft(part(a.done(), a.total), l.amount))
	if l.rate > 0 {
		cells = append(cells, runewidth.FillLeft(pace, l.rate))
	}
	if l.left > 0 {
		cells = append(cells, runewidth.FillLeft(eta, l.left))
	}
	return cut(strings.TrimRight(strings.Join(cells, "  "), " "), width)
}

// bar returns a bar of so many columns: '+' is what was skipped, '=' what was
// moved. Where the total is not known it is blank.
func (a *amount) bar(width int) string {
	if a.total == 0 {
		return strings.Repeat(" ", width)
	}
	room := width - len("[]")
	share := func(n int64) int { return int(float64(room) * min(1, max(0, float64(n)/float64(a.total)))) }
	done := share(a.done())
	skipped := min(done, share(a.skipped.Load()))
	return "[" + strings.Repeat("+", skipped) + strings.Repeat("=", done-skipped) + strings.Repeat("-", room-done) + "]"
}

// cut shortens s to so many columns.
func cut(s string, width int) string { return runewidth.Truncate(s, max(0, width), "…") }

// tail does the same from the left: names differ in their ends.
func tail(s string, width int) string {
	if over := runewidth.StringWidth(s) - max(0, width); over > 0 {
		return runewidth.TruncateLeft(s, over+runewidth.StringWidth("…"), "…")
	}
	return s
}
