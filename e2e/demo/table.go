package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/oras-bsm/oras-bsm/e2e/harness"
	"github.com/oras-bsm/oras-bsm/oci"
)

// print writes the table.
func (d *demo) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "\nMODEL\tSTORE\tDECODED\tENCODED\tRATIO\tPUSH\tVERIFY\tPULL\tPUSH MEM\tPULL MEM\tRATIO BY DTYPE")
	for _, r := range d.rows {
		n := r.report.Decoded
		_, _ = fmt.Fprintln(t, strings.Join([]string{
			r.model, r.store, size(n), size(r.report.Encoded), ratio(r.report.Encoded, n),
			rate(n, r.push.Took), rate(n, r.verify.Took), rate(n, r.pull.Took),
			memory(r.push), memory(r.pull), dtypes(&r.report),
		}, "\t"))
	}
	_ = t.Flush()
	_, _ = fmt.Fprintln(w, `
Every file came back with the same bytes and mode. Ratio: encoded in percent of
decoded. Push, verify and pull --verify: GB of decoded files a second, starting
the program included. Mem: the most that was resident; <= is a bound.`)
}

func size(n int64) string { return humanize.IBytes(uint64(n)) }

func ratio(encoded, decoded int64) string {
	if decoded == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f %%", 100*float64(encoded)/float64(decoded))
}

func rate(n int64, took time.Duration) string {
	return fmt.Sprintf("%.3f", float64(n)/1e9/took.Seconds())
}

func memory(r *harness.Result) string {
	if r.AtMost {
		return "<= " + size(r.Peak)
	}
	return size(r.Peak)
}

// dtypes lists the ratio of each dtype of tensors.
func dtypes(r *oci.Report) string {
	var s []string
	for _, d := range r.Dtypes {
		if d.Tensors > 0 {
			s = append(s, d.Dtype+" "+ratio(d.Encoded, d.Decoded))
		}
	}
	return strings.Join(s, ", ")
}
