// Command transfer measures pulls over links of a given rate beside the same model
// fetched raw, by curl and skopeo, from the same registry into the same sink:
//
//	go run ./e2e/transfer -size 2GiB -rates 1,5,10,0
//
// The registry is in this process, on the loopback interface; the link is a limiter
// on its connections. Run it in the root of the project.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/dustin/go-humanize"
)

// options are the flags.
type options struct {
	size  uint64
	rates []float64 // Gb/s; 0: no limit
	disk  string
	runs  int
}

func main() {
	o := options{size: 1 << 30, rates: []float64{1, 5, 10, 0}}
	flag.Func("size", "bytes of the generated `model`, 64MiB to 64GiB (default 1GiB)", func(s string) (err error) {
		if o.size, err = humanize.ParseBytes(s); err == nil && (o.size < 64<<20 || o.size > 64<<30) {
			err = errors.New("not from 64MiB to 64GiB")
		}
		return err
	})
	flag.Func("rates", "`Gb/s` of the links, 0 for no limit (default 1,5,10,0)", func(s string) error {
		o.rates = nil
		for f := range strings.SplitSeq(s, ",") {
			r, err := strconv.ParseFloat(f, 64)
			if err != nil || r < 0 {
				return fmt.Errorf("%q is no rate", f)
			}
			o.rates = append(o.rates, r)
		}
		return nil
	})
	flag.StringVar(&o.disk, "disk", os.TempDir(), "a `directory` on a disk, the other sink beside memory")
	flag.IntVar(&o.runs, "runs", 3, "how often each is measured; the median counts")
	flag.Parse()
	if flag.NArg() > 0 || o.runs < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "transfer:", err)
		os.Exit(1)
	}
}
