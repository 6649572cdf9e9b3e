package main

import (
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/oras-bsm/oras-bsm/oci"
)

// hostile are names that would change what a terminal shows, and how they are
// to appear.
var hostile = []struct{ name, shown string }{
	{"model.layers.0.weight", "model.layers.0.weight"},
	{"重み/ünïcode", "重み/ünïcode"},
	{"clear\x1b[2J", `clear\u001b[2J`},
	{"c1\u009b2J", `c1\u009b2J`},
	{"line\nbreak\ttab\rreturn", `line\u000abreak\u0009tab\u000dreturn`},
	{"bidi\u202egnp.exe", `bidi\u202egnp.exe`},
	{"isolate\u2066x\u2069", `isolate\u2066x\u2069`},
	{"zero\u200bwidth", `zero\u200bwidth`},
	{"no-break\u00a0space", `no-break\u00a0space`},
	{"tag\U000e0041", `tag\udb40\udc41`},
	{"del\x7f", `del\u007f`},
	{"bad\xffutf-8", `bad\xffutf-8`},
}

func TestEscape(t *testing.T) {
	for _, h := range hostile {
		if got := escape(h.name); got != h.shown {
			t.Errorf("escape(%q) = %s, want %s", h.name, got, h.shown)
		}
	}
}

// TestHostileNames proves that no name of a model reaches a terminal as it is,
// by whichever table, and that JSON keeps each name's value.
func TestHostileNames(t *testing.T) {
	for _, h := range hostile[:len(hostile)-1] { // JSON has no invalid UTF-8
		n := h.name
		r := &oci.Report{
			Ref: n, Level: n,
			Manifests: []oci.ManifestDigest{{Platform: n}},
			Layers:    []oci.LayerReport{{MediaType: n, Stack: n}},
			Files:     []oci.FileReport{{Path: n, Format: n}},
			Tensors:   []oci.TensorReport{{Name: n, Dtype: n, SharedWith: &n}},
			Dtypes:    []oci.DtypeReport{{Dtype: n}},
		}
		var human strings.Builder
		printReport(&human, r, true)
		if got, want := strings.Count(human.String(), h.shown), 11; got != want {
			t.Errorf("%q appears %d times as %s, want %d:\n%s", n, got, h.shown, want, human.String())
		}

		var doc strings.Builder
		a := &app{json: true, stdout: &output{w: &doc}}
		if err := a.print(r, func(io.Writer) { t.Error("printed for people") }); err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(doc.String(), func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) }); i >= 0 {
			t.Errorf("%q: the JSON goes %q", n, doc.String()[i:])
		}
		var back oci.Report
		if err := json.Unmarshal([]byte(doc.String()), &back); err != nil || back.Tensors[0].Name != n {
			t.Errorf("%q came back from JSON as %q, %v", n, back.Tensors[0].Name, err)
		}
	}
}

func TestUnits(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{size(0), "0 B"},
		{size(999), "999 B"},
		{size(1000), "1.00 kB"},
		{size(14_483_498_224), "14.5 GB"},
		{ratio(663, 1000), "66.3 %"},
		{ratio(1, 0), "-"},
		{sizes(2000, 1326), "2.00 kB decoded, 1.33 kB encoded (66.3 %)"},
		{pace(3_000_000, 2), "2.0 s, 1.50 MB/s"},
		{pace(3_000_000, 0), "0.0 s"},
		{part(2000, 4000), "2.00 of 4.00 kB"},
		{part(999, 999), "999 of 999 B"},
		{part(0, 140_000_000_000), "0.00 of 140 GB"},
		{part(12_345_678_901, 140_000_000_000), "12.3 of 140 GB"},
		{part(9_999_999_999, 140_000_000_000), "10.0 of 140 GB"},
		{part(99_999_999_999, 140_000_000_000), "100 of 140 GB"},
		{part(math.MaxInt64, math.MaxInt64), "9.22 of 9.22 EB"},
		{part(5000, 0), "5.00 kB"},
		{left(100, 0), ""},
		{left(0, 100), ""},
		{left(100, 3), "34 s left"},
		{left(9950, 100), "2 m left"},
		{left(5*3600*9, 2), "23 h left"},
		{left(100*3600*100, 1), "days left"},
		{count(1, "file"), "1 file"},
		{count(0, "file"), "0 files"},
		{shape(nil), "scalar"},
		{shape([]int64{4, 0, 3}), "4x0x3"},
		{shortDigest("short"), "short"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	tab := table{align: " >"}
	tab.row("NAME", "SIZE", "NOTE")
	tab.row("é", "10 kB")
	tab.row("longer", "1 B", "last")
	var b strings.Builder
	tab.write(&b)
	want := "NAME     SIZE  NOTE\né       10 kB\nlonger    1 B  last\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
