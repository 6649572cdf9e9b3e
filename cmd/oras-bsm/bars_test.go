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

// screen is a terminal that knows what bars use: lines, the first column, and the
// cursor up with all below it cleared. What scrolls off its top stays as it was.
type screen struct {
	width, height int

	mu   sync.Mutex
	rows []string
	at   int      // the row of the cursor
	left bool     // it is in the first column of it, else at its end
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
var sequences = regexp.MustCompile(`\x1b\[([0-9]+)A\x1b\[J|\r|\n|[^\n\r\x1b]+|.`)

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range sequences.FindAllStringSubmatch(string(p), -1) {
		up, err := strconv.Atoi(m[1])
		switch {
		case err == nil && s.left && up <= s.at && up < s.height:
			s.at -= up
			s.rows = append(s.rows[:s.at], "")
		case m[0] == "\r":
			s.left = true
		case m[0] == "\n":
			if s.at++; s.at == len(s.rows) {
				s.rows = append(s.rows, "")
			}
			s.left = true
		case strings.IndexFunc(m[0], func(r rune) bool { return !strconv.IsPrint(r) }) >= 0:
			s.bad = append(s.bad, fmt.Sprintf("%q in row %d of %d", m[0], s.at, len(s.rows)))
		case s.left:
			s.rows[s.at] = m[0] + s.rows[s.at][min(len(m[0]), len(s.rows[s.at])):]
			s.left = false
		default:
			s.rows[s.at] += m[0]
		}
	}
	return len(p), nil
}

// shows compares what is on the screen, without the row of the cursor.
func (s *screen) shows(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows []string
	for _, row := range s.rows {
		rows = append(rows, strings.TrimRight(row, " "))
	}
	if d := cmp.Diff(append(want, ""), rows); d != "" {
		t.Errorf("screen (-want +got):\n%s", d)
	}
	if len(s.bad) > 0 {
		t.Errorf("%q", s.bad)
	}
}

// apart makes sure that phases do not change at the moments at which mpb draws.
func apart() { time.Sleep(frameTime / 3) }

// frames waits until bars have been drawn anew, and what ended is gone.
func frames() {
	time.Sleep(3 * frameTime)
	synctest.Wait()
}

func TestBars(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(80, 24)
		b := newBars(s, s.size)
		broken(b)
		frames()
		above := slices.Clip([]string{"hashing: done, 4.00 kB, 0.0 s", "encoding: ended after 2.00 of 4.00 kB, 0.0 s"})
		s.shows(t, above...)

		apart()
		bar := b.Begin("pulling", 200_000_000_000)
		bar.Skip(50_000_000_000)
		var items []interface{ End() }
		for n := range 10 {
			i := bar.Item(fmt.Sprintf("model.layers %d", n), 10_000_000_000)
			i.Add(int64(n) * 1_000_000_000)
			items = append(items, i)
		}
		time.Sleep(5*time.Second - 3*frameTime)
		frames()
		item := "  model.layers 0 [---------------------------------------------] 0.00 of 10.0 GB"
		s.shows(t, append(above,
			"pulling          [+++++++++++=========>------------------------]  95.0 of 200 GB",
			"  5.67 GB/s, 19 s left, 50.0 GB in place",
			item,
			"  model.layers 1 [====>----------------------------------------] 1.00 of 10.0 GB",
			"  model.layers 2 [========>------------------------------------] 2.00 of 10.0 GB",
			"  model.layers 3 [=============>-------------------------------] 3.00 of 10.0 GB",
			"  model.layers 4 [=================>---------------------------] 4.00 of 10.0 GB",
			"  model.layers 5 [======================>----------------------] 5.00 of 10.0 GB",
			"  model.layers 6 [==========================>------------------] 6.00 of 10.0 GB",
			"  model.layers 7 [===============================>-------------] 7.00 of 10.0 GB",
		)...)

		// Others move up as some end, and warnings appear above.
		for _, i := range items[1:9] {
			i.End()
		}
		if _, err := b.Write([]byte("warning: above\n")); err != nil {
			t.Error(err)
		}
		frames()
		above = append(above, "warning: above")
		s.shows(t, append(above,
			"pulling          [+++++++++++=========>------------------------]  95.0 of 200 GB",
			"  4.92 GB/s, 22 s left, 50.0 GB in place",
			item,
			"  model.layers 9 [========================================>----] 9.00 of 10.0 GB",
		)...)

		// A key that was pressed shows where the cursor is, and is drawn over.
		if _, err := s.Write([]byte("^C")); err != nil {
			t.Error(err)
		}
		b.close()
		above = append(above, "pulling: ended after 95.0 of 200 GB, 50.0 GB in place, 5.5 s, 8.26 GB/s")
		s.shows(t, above...)

		// Nothing is drawn any more, and nothing is lost.
		late := b.Begin("too late", 10)
		late.Add(10)
		late.End()
		frames()
		if _, err := b.Write([]byte("warning: after\n")); err != nil {
			t.Error(err)
		}
		s.shows(t, append(above, "warning: after")...)
	})
}

// TestBarsOnNarrowTerminals proves that no row is longer than its line and that
// the rows never fill the screen, whatever its size and whatever is drawn.
func TestBarsOnNarrowTerminals(t *testing.T) {
	for _, size := range [][2]int{{40, 10}, {40, 6}, {41, 7}, {60, 8}, {79, 24}, {120, 30}, {300, 100}, {20, 6}, {8, 6}, {1, 6}} {
		synctest.Test(t, func(t *testing.T) {
			s := newScreen(size[0], size[1])
			b := newBars(s, s.size)
			defer b.close()
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
				if len(s.rows) > s.height || len(s.rows) < 6 {
					t.Errorf("%v: %d rows", size, len(s.rows))
				}
				for _, row := range s.rows {
					if w := runewidth.StringWidth(row); w > s.width {
						t.Errorf("%v: %d columns: %q", size, w, row)
					}
				}
				s.mu.Unlock()
				b.mu.Lock()
				b.phases = nil // without their lines
				b.arrange()
				b.mu.Unlock()
				frames()
				s.shows(t)
			}
		})
	}
}

// TestBarsAtFortyColumns shows that bars and names become short, and nothing is
// left out.
func TestBarsAtFortyColumns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(40, 10)
		b := newBars(s, s.size)
		defer b.close()
		apart()
		bar := b.Begin("pulling", 140_000_000_000)
		bar.Item("unet/model:down_blocks 12", 1_000_000_000).Add(500_000_000)
		bar.Skip(1_000_000_000)
		time.Sleep(time.Second - 3*frameTime)
		frames()
		s.shows(t,
			"pulling       [--------]  1.50 of 140 GB",
			"  515 MB/s, 5 m left, 1.00 GB in place",
			"…wn_blocks 12 [===>----] 0.50 of 1.00 GB",
		)
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
		bar.Item("model.layers 0", 5)
		frames()
		bar.End()
		b.close()
		s.shows(t, "pulling: done, 10 B, 0.9 s, 11 B/s")
	})
}
