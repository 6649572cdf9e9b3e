package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadPassword(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		bad            bool
	}{
		{name: "plain", in: "secret", want: "secret"},
		{name: "with a newline", in: "secret\n", want: "secret"},
		{name: "from Windows", in: "secret\r\n", want: "secret"},
		{name: "spaces are part of it", in: " se cret \n", want: " se cret "},
		{name: "as long as may be", in: strings.Repeat("x", 64<<10), want: strings.Repeat("x", 64<<10)},
		{name: "empty", in: "", bad: true},
		{name: "empty line", in: "\n", bad: true},
		{name: "two lines", in: "user\nsecret\n", bad: true},
		{name: "too long", in: strings.Repeat("x", 64<<10+1), bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "password")
			if err := os.WriteFile(name, []byte(c.in), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got, err := readPassword(f)
			if isA[*usageError](err) != c.bad || got != c.want {
				t.Errorf("got %.20q, %v", got, err)
			}
		})
	}
}

// TestWait proves that a signal ends a prompt that nobody answers.
func TestWait(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	_, err = wait(ctx, func() (string, error) {
		cancel()
		return readLine(r)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}
