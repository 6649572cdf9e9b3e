package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mattn/go-runewidth"
)

// screen is a terminal that knows what bars use: lines, the cursor up, and the
// rest of a line or of the screen cleared. What scrolls off its top stays as it was.
type screen struct {
	width, height int

	mu   sync.Mutex
	rows []string
	at   int      // the row of the cursor, which is at the end of it
	bad  []string // what no bars may do
}

func newScreen(width, height int) *screen {
	return &screen{width: width, height: height, rows: []string{""}}
}

func (s *screen) size() (int, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.width == 0 {
		return 0, 0, errors.New("gone")
	}
	return s.width, s.height, nil
}

// sequences are all that a screen obeys; between them is text of one line.
var sequences = regexp.MustCompile(`\r\x1b\[([0-9]+)A|\x1b\[K|\x1b\[J|\n|[^\n\r\x1b]+|.`)

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range sequences.FindAllStringSubmatch(string(p), -1) {
		up, err := strconv.Atoi(m[1])
		switch {
		case err == nil && up <= s.at && up < s.height:
			s.at -= up
		case m[0] == clearLine:
			s.rows[s.at] = ""
		case m[0] == clearBelow:
			s.rows = append(s.rows[:s.at], "")
		case m[0] == "\n":
			if s.at++; s.at == len(s.rows) {
				s.rows = append(s.rows, "")
			}
		case strings.IndexFunc(m[0], func(r rune) bool { return !strconv.IsPrint(r) }) >= 0:
			s.bad = append(s.bad, fmt.Sprintf("%q in row %d of %d", m[0], s.at, len(s.rows)))
		case s.rows[s.at] != "":
			s.bad = append(s.bad, fmt.Sprintf("%q written over %q", m[0], s.rows[s.at]))
		default:
			s.rows[s.at] = m[0]
		}
	}
	return len(p), nil
}

// shows compares what is on the screen, without the row of the cursor.
func (s *screen) shows(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := cmp.Diff(append(want, ""), s.rows); d != "" {
		t.Errorf("screen (-want +got):\n%s", d)
	}
	if len(s.bad) > 0 {
		t.Errorf("%q", s.bad)
	}
}

// frames waits until bars have been drawn anew.
func frames() {
	time.Sleep(2 * frameTime)
	synctest.Wait()
}

func TestBars(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(80, 24)
		b := newBars(s, s.size)
		broken(b)
		hashed := slices.Clip([]string{"hashing: done, 4.00 kB, 0.0 s", "encoding: ended after 2.00 of 4.00 kB, 0.0 s"})
		s.shows(t, hashed...)

		bar := b.Begin("pulling", 200_000_000_000)
		bar.Skip(50_000_000_000)
		var items []interface{ End() }
		for n := range 10 {
			i := bar.Item(fmt.Sprintf("model.layers %d", n), 10_000_000_000)
			i.Add(int64(n) * 1_000_000_000)
			items = append(items, i)
		}
		time.Sleep(5*time.Second - 2*frameTime)
		frames()
		drawn := append(slices.Clip(hashed),
			"pulling           [+++++====-----------]   95.0 of 200 GB  5.29 GB/s  20 s left",
		)
		for n := range 8 {
			filled := 20 * n / 10
			drawn = append(drawn, fmt.Sprintf("  model.layers %d  [%s%s]  %15s", n, strings.Repeat("=", filled),
				strings.Repeat("-", 20-filled), part(int64(n)*1_000_000_000, 10_000_000_000)))
		}
		s.shows(t, append(drawn, "  50.0 GB in place, 2 more")...)

		// Others move up as some end, and warnings appear above.
		for _, i := range items[1:] {
			i.End()
		}
		if _, err := b.Write([]byte("warning: above\n")); err != nil {
			t.Error(err)
		}
		s.shows(t, append(hashed, "warning: above", drawn[2], drawn[3], "  50.0 GB in place")...)

		// A key that was pressed shows where the cursor is, and is drawn over.
		if _, err := s.Write([]byte("^C")); err != nil {
			t.Error(err)
		}
		b.close()
		hashed = append(hashed, "warning: above", "pulling: ended after 95.0 of 200 GB, 50.0 GB in place, 5.0 s, 9.00 GB/s")
		s.shows(t, hashed...)

		// Nothing is drawn any more, and nothing is lost.
		late := b.Begin("too late", 10)
		late.Add(10)
		late.End()
		frames()
		if _, err := b.Write([]byte("warning: after\n")); err != nil {
			t.Error(err)
		}
		s.shows(t, append(hashed, "warning: after")...)
	})
}

// TestBarsOnNarrowTerminals proves that no row reaches the end of its line and
// that the rows never fill the screen, whatever its size and whatever is drawn.
func TestBarsOnNarrowTerminals(t *testing.T) {
	for _, size := range [][2]int{{40, 10}, {40, 4}, {41, 5}, {60, 8}, {79, 24}, {120, 30}, {300, 100}, {20, 3}, {8, 2}, {1, 1}} {
		synctest.Test(t, func(t *testing.T) {
			s := newScreen(size[0], size[1])
			b := newBars(s, s.size)
			for _, h := range hostile {
				phase := b.Begin("verifying", 123_456_789_012_345)
				other := b.Begin("uploading", 0)
				phase.Skip(1_234_567_890_123)
				for n := range 12 {
					i := phase.Item(fmt.Sprintf("%s %s %d", h.name, strings.Repeat("重み", n), n), int64(1)<<(5*n))
					i.Add(int64(1) << (5 * n) / 3)
				}
				other.Item("", 1<<62).Add(1 << 40)
				frames()
				s.mu.Lock()
				if len(s.rows) > s.height {
					t.Errorf("%v: %d rows", size, len(s.rows))
				}
				for _, row := range s.rows {
					if w := runewidth.StringWidth(row); w >= s.width {
						t.Errorf("%v: %d columns: %q", size, w, row)
					}
				}
				s.mu.Unlock()
				b.mu.Lock()
				b.phases = nil // without their lines
				b.mu.Unlock()
				frames()
			}
			b.close()
			s.shows(t)
		})
	}
}

// TestBarsAtFortyColumns shows what is left out, and where it goes.
func TestBarsAtFortyColumns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(40, 10)
		b := newBars(s, s.size)
		bar := b.Begin("pulling", 140_000_000_000)
		bar.Item("unet/model:down_blocks 12", 1_000_000_000).Add(500_000_000)
		time.Sleep(time.Second - 2*frameTime)
		frames()
		s.shows(t,
			"pulling        [-----]   0.50 of 140 GB",
			"  …_blocks 12  [==---]  0.50 of 1.00 GB",
			"  456 MB/s, 6 m left",
		)
	})
}

// TestBarsWhenNarrowed proves that rows that became two are drawn over.
func TestBarsWhenNarrowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(80, 24)
		b := newBars(s, s.size)
		bar := b.Begin("pulling", 10_000_000_000)
		bar.Add(1_000_000_000)
		bar.Item("tensors", 0)
		frames()
		s.mu.Lock()
		s.width = 50
		var rows []string
		for _, row := range s.rows {
			for len(row) > s.width {
				rows, row = append(rows, row[:s.width]), row[s.width:]
			}
			rows = append(rows, row)
		}
		s.rows, s.at = rows, len(rows)-1
		s.mu.Unlock()
		frames()
		s.shows(t,
			"pulling    [--------]  1.00 of 10.0 GB   4 s left",
			"  tensors                          0 B",
			"  2.43 GB/s",
		)
		b.close()
	})
}

// TestBarsOutliveTheirTerminal proves that work goes on when a terminal closes.
func TestBarsOutliveTheirTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(80, 24)
		b := newBars(s, s.size)
		bar := b.Begin("pulling", 10)
		frames()
		s.mu.Lock()
		s.width = 0
		s.mu.Unlock()
		bar.Add(10)
		frames()
		bar.End()
		b.close()
		s.shows(t, "pulling: done, 10 B, 0.4 s, 25 B/s")
	})
}
