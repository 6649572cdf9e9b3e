package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// row is what was measured with one dtype, level and implementation.
type row struct {
	dtype, level, impl     string
	encode, decode, reader metrics
	ratio                  float64
}

// metrics are those of one benchmark; zero is not measured.
type metrics struct {
	gbps    float64
	xmemcpy float64
}

// results are the benchmarks in the output of go test.
type results struct {
	goos, goarch, cpu string
	rows              []*row // in the order of the first benchmark of each
	failed            bool
}

// parse reads the output of go test. Lines that it does not know are none of its
// business.
func parse(in io.Reader) (*results, error) {
	r := &results{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := lines.Text()
		key, value, _ := strings.Cut(line, ": ")
		switch {
		case key == "goos":
			r.goos = value
		case key == "goarch":
			r.goarch = value
		case key == "cpu":
			r.cpu = value
		case strings.HasPrefix(line, "FAIL"), strings.HasPrefix(line, "--- FAIL"), strings.HasPrefix(line, "panic:"):
			r.failed = true
		case strings.HasPrefix(line, "Benchmark"):
			if err := r.add(strings.Fields(line)); err != nil {
				return nil, fmt.Errorf("%w: %s", err, line)
			}
		}
	}
	return r, lines.Err()
}

// add adds a benchmark: its name, a count, and values with their units.
func (r *results) add(fields []string) error {
	verb, x, ok := parseName(strings.TrimPrefix(fields[0], "Benchmark"))
	if !ok || len(fields) < 4 {
		return nil
	}
	var m metrics
	row := r.row(x)
	for i := 2; i+1 < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return err
		}
		switch fields[i+1] {
		case "GB/cpu-s":
			m.gbps = v
		case "xmemcpy":
			m.xmemcpy = v
		case "ratio":
			row.ratio = v
		}
	}
	switch verb {
	case "Encode":
		row.encode = m
	case "Decode":
		row.decode = m
	case "Reader":
		row.reader = m
	}
	return nil
}

// row returns the row for x, a new one where there is none.
func (r *results) row(x row) *row {
	for _, y := range r.rows {
		if y.dtype == x.dtype && y.level == x.level && y.impl == x.impl {
			return y
		}
	}
	r.rows = append(r.rows, &x)
	return &x
}

// parseName takes a name such as "Decode/dtype=bf16/level=max/impl=go-2" apart.
func parseName(name string) (verb string, x row, ok bool) {
	verb, name, _ = strings.Cut(name, "/")
	if verb != "Encode" && verb != "Decode" && verb != "Reader" {
		return "", row{}, false
	}
	if i := strings.LastIndexByte(name, '-'); i >= 0 { // GOMAXPROCS
		name = name[:i]
	}
	for part := range strings.SplitSeq(name, "/") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "dtype":
			x.dtype = value
		case "level":
			x.level = value
		case "impl":
			x.impl = value
		}
	}
	return verb, x, x.dtype != "" && x.level != "" && x.impl != ""
}

// machine says what the benchmarks ran on.
func (r *results) machine() string {
	return fmt.Sprintf("%s, %s/%s", cmp.Or(r.cpu, "unknown CPU"), r.goos, r.goarch)
}

// table is the results in Markdown.
func (r *results) table() string {
	var b strings.Builder
	b.WriteString("| dtype | level | impl | ratio | encode GB/s | decode GB/s | Reader GB/s | encode xmemcpy | decode xmemcpy | Reader xmemcpy |\n")
	b.WriteString("|---|---|---|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, x := range r.rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", x.dtype, x.level, x.impl, figure(x.ratio, 4),
			figure(x.encode.gbps, 2), figure(x.decode.gbps, 2), figure(x.reader.gbps, 2),
			figure(x.encode.xmemcpy, 3), figure(x.decode.xmemcpy, 3), figure(x.reader.xmemcpy, 3))
	}
	return b.String()
}

// figure writes x with so many decimals, or a dash for what was not measured.
func figure(x float64, decimals int) string {
	if x == 0 {
		return "-"
	}
	return strconv.FormatFloat(x, 'f', decimals, 64)
}
