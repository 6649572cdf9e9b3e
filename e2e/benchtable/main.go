// Command benchtable makes a table of the benchmarks of package codec. It copies
// the output of go test, which it reads, and writes the table after it, or to a
// file together with what it was measured on.
//
//	go test -run '^$' -bench . ./codec | go run ./e2e/benchtable
//
// The exit code is 1 when a benchmark failed, or when there was none.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

func main() {
	out := flag.String("o", "", "the `FILE` to write the table to (default: standard output)")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(os.Stdin, os.Stdout, *out); err != nil {
		fmt.Fprintln(os.Stderr, "benchtable:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, stdout io.Writer, file string) error {
	r, err := parse(io.TeeReader(in, stdout))
	if err != nil {
		return err
	}
	if r.failed {
		return errors.New("not every benchmark ran")
	}
	if len(r.rows) == 0 {
		return errors.New("no benchmark of package codec in the input")
	}
	if file == "" {
		_, err := fmt.Fprintf(stdout, "\n%s\n%s", r.machine(), r.table())
		return err
	}
	commit, err := revision()
	if err != nil {
		return err
	}
	return os.WriteFile(file, r.document(commit), 0o644)
}

// revision names the commit of the working directory.
func revision() (string, error) {
	commit, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		return "", fmt.Errorf("git rev-parse: %w", err)
	}
	changes, err := exec.Command("git", "status", "--porcelain").Output()
	if err != nil {
		return "", fmt.Errorf("git status: %w", err)
	}
	name := strings.TrimSpace(string(commit))
	if len(bytes.TrimSpace(changes)) > 0 {
		name += ", with changes that are not committed"
	}
	return name, nil
}

// document is the file with the table.
func (r *results) document(commit string) []byte {
	return fmt.Appendf(nil, `# Speed and ratio of the codec

Made by `+"`make bench-baseline`"+`, not by hand. One core, chunks in memory, generated weights (e2e/model). GB/s: 10^9
decoded bytes a second of CPU time. Reader is a whole layer read from memory. Decoding and Reader include the hash of
every chunk. Ratio is encoded over decoded size. xmemcpy is the speed in multiples of memcpy, measured in the same
process: compare those, not the speeds, with other runs.

- commit: %s
- Go: %s
- machine: %s

%s`, commit, runtime.Version(), r.machine(), r.table())
}
