package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// output is standard output. It remembers that it failed, because those who
// write help and completions do not ask.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	o.err = err
	return n, err
}

// failure returns why not everything was written. A reader that had enough and
// closed the pipe is no failure.
func (o *output) failure() error {
	if o.err == nil || errors.Is(o.err, syscall.EPIPE) {
		return nil
	}
	return fmt.Errorf("writing standard output: %w", o.err)
}

// print writes a result for people, or as JSON where that was asked for.
func (a *app) print(v any, human func(io.Writer)) error {
	var b bytes.Buffer
	if a.json {
		doc, err := json.Marshal(v, jsontext.WithIndent("  "))
		if err != nil {
			return fmt.Errorf("writing JSON: %w", err)
		}
		b.WriteString(escapeJSON(doc))
		b.WriteByte('\n')
	} else {
		human(&b)
	}
	_, _ = a.stdout.Write(b.Bytes()) // finish asks how it went
	return nil
}

// table is rows of cells. A '>' in align puts the column of that position to
// the right. A column is as wide as its widest cell, the last one as its own.
type table struct {
	align string
	rows  [][]string
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer) {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i < len(t.align) && t.align[i] == '>' {
				line.WriteString(pad + cell + "  ")
			} else {
				line.WriteString(cell + pad + "  ")
			}
		}
		_, _ = fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// size writes bytes in decimal units with three digits: "9.61 GB".
func size(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	return humanize.BytesN(uint64(n), 3)
}

// byteSize is a flag that holds a number of bytes, written with a unit or without.
type byteSize int64

func (b *byteSize) Set(s string) error {
	n, err := humanize.ParseBytes(s)
	if err == nil && (n == 0 || n > math.MaxInt64) {
		err = strconv.ErrRange
	}
	*b = byteSize(n)
	return err
}

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return strings.ReplaceAll(humanize.IBytes(uint64(*b)), " ", "")
}

func (*byteSize) Type() string { return "SIZE" }

// ratio writes part in percent of whole: "66.3 %".
func ratio(part, whole int64) string {
	if whole <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

// sizes writes both sizes and their ratio.
func sizes(decoded, encoded int64) string {
	return fmt.Sprintf("%s decoded, %s encoded (%s)", size(decoded), size(encoded), ratio(encoded, decoded))
}

// pace writes how long n bytes took, and how many that is in a second.
func pace(n int64, seconds float64) string {
	s := fmt.Sprintf("%.1f s", seconds)
	if seconds < 0.05 { // too short to tell
		return s
	}
	return s + ", " + size(int64(float64(n)/seconds)) + "/s"
}

// part writes how much of whole is there, in the unit of whole: "12.3 of 140 GB".
// A whole of 0 is one that is not known.
func part(n, whole int64) string {
	if whole <= 0 {
		return size(n)
	}
	all := size(whole)
	_, unit, _ := strings.Cut(all, " ")
	v := float64(n) / math.Pow10(3*slices.Index([]string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}, unit))
	decimals := 2
	for most := 9.995; decimals > 0 && (unit == "B" || v >= most); most *= 10 {
		decimals--
	}
	return strconv.FormatFloat(v, 'f', decimals, 64) + " of " + all
}

// left writes how long n bytes will take: "12 m left". It is empty where there is
// no telling.
func left(n int64, speed float64) string {
	if n <= 0 || speed < 1 {
		return ""
	}
	seconds := float64(n) / speed
	for _, u := range []struct {
		name string
		size float64
	}{{"s", 1}, {"m", 60}, {"h", 3600}} {
		if n := math.Ceil(seconds / u.size); n < 100 {
			return fmt.Sprintf("%.0f %s left", n, u.name)
		}
	}
	return "days left"
}

// count writes n things: "1 file", "3 files".
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}

// escape returns s with every character replaced that a terminal might obey or
// that looks like another: controls, invisible ones, those that change the
// direction of text, all spaces but the common one, and bytes that are no text.
func escape(s string) string { return escapeBut(s, strconv.IsPrint) }

// escapeJSON does the same to a JSON document, in which such characters can
// stand in strings alone, where the escapes are JSON's own.
func escapeJSON(doc []byte) string {
	return escapeBut(string(doc), func(r rune) bool { return r == '\n' || strconv.IsPrint(r) })
}

// escapeBut writes what is not fine as JSON does, in units of UTF-16, and bytes
// that are not UTF-8, which JSON does not have, as \xNN.
func escapeBut(s string, fine func(rune) bool) string {
	var b strings.Builder
	for i, n := 0, 0; i < len(s); i += n {
		var r rune
		r, n = utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case fine(r):
			b.WriteString(s[i : i+n])
		default:
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		}
	}
	return b.String()
}
