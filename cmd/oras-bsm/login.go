package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/oras-bsm/oras-bsm/oci"
)

// credentials are what the flags of login say.
type credentials struct {
	user, password string
	fromStdin      bool
}

// loginResult is what login and logout tell; logout knows no user.
type loginResult struct {
	Registry string `json:"registry"`
	Username string `json:"username,omitempty"`
}

func newLogin(a *app) *cobra.Command {
	var c credentials
	cmd := &cobra.Command{
		Use:   "login HOST",
		Short: "Keep the credentials for a registry",
		Long: `Login checks a user name and password, or token, with the registry and keeps
them where docker login does: with the credential helper that
~/.docker/config.json names, or else in that file. Without flags it asks for
them on the terminal.`,
		Example: `  oras-bsm login ghcr.io
  oras-bsm login ghcr.io -u USER --password-stdin < token.txt`,
		Args:              takes("HOST"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.login(cmd.Context(), args[0], c)
		},
	}
	cmd.Flags().StringVarP(&c.user, "username", "u", "", "the `USER` name")
	cmd.Flags().StringVarP(&c.password, "password", "p", "", "the `PASSWORD` or token, for every user of this machine to see")
	cmd.Flags().BoolVar(&c.fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

func (a *app) login(ctx context.Context, host string, c credentials) error {
	if err := a.ask(ctx, &c); err != nil {
		return err
	}
	o := a.store()
	if err := oci.Login(ctx, host, c.user, c.password, &o); err != nil {
		return err
	}
	return a.print(loginResult{host, c.user}, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "logged in to %s as %s\n", escape(host), escape(c.user))
	})
}

// ask completes c from standard input.
func (a *app) ask(ctx context.Context, c *credentials) (err error) {
	switch {
	case c.password != "" && c.fromStdin:
		return &usageError{err: errors.New("--password and --password-stdin exclude each other")}
	case c.password != "":
		a.warn(a.stderr, "--password shows in the process list and the shell's history: use --password-stdin")
	case c.fromStdin && c.user == "":
		return &usageError{err: errors.New("--password-stdin needs --username")}
	case c.fromStdin:
		c.password, err = wait(ctx, func() (string, error) { return readPassword(a.stdin) })
		return err
	case !term.IsTerminal(int(a.stdin.Fd())):
		return &usageError{err: errors.New("no terminal to ask for the password: use --username and --password-stdin")}
	}
	if c.user == "" {
		_, _ = fmt.Fprint(a.stderr, "user name: ")
		if c.user, err = wait(ctx, func() (string, error) { return readLine(a.stdin) }); err != nil {
			return err
		}
	}
	if c.password == "" {
		c.password, err = a.prompt(ctx)
	}
	return err
}

// prompt asks for a password on the terminal, which shows nothing of it.
func (a *app) prompt(ctx context.Context) (string, error) {
	fd := int(a.stdin.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("asking for the password: %w", err)
	}
	// An interrupted read is left behind with the echo off.
	defer func() { _ = term.Restore(fd, before) }()
	_, _ = fmt.Fprint(a.stderr, "password: ")
	p, err := wait(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	_, _ = fmt.Fprintln(a.stderr)
	if err != nil {
		return "", fmt.Errorf("asking for the password: %w", err)
	}
	return string(p), nil
}

// wait returns what read does, or the end of ctx where that comes first: the
// program is then about to end, and read with it.
func wait[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := read()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// readPassword reads all of f, less the end of its line.
func readPassword(f *os.File) (string, error) {
	const most = 64 << 10
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	switch {
	case len(b) == 0:
		return "", &usageError{err: errors.New("the password on standard input is empty")}
	case len(b) > most:
		return "", &usageError{err: fmt.Errorf("the password on standard input is longer than %d bytes", most)}
	case bytes.ContainsAny(b, "\r\n"):
		return "", &usageError{err: errors.New("the password on standard input has more than one line")}
	}
	return string(b), nil
}

// readLine reads a line from a terminal and nothing beyond it.
func readLine(f *os.File) (string, error) {
	var line []byte
	for b := make([]byte, 1); len(line) < 4<<10; {
		if _, err := f.Read(b); err != nil {
			return "", fmt.Errorf("reading the user name: %w", err)
		}
		if b[0] == '\n' {
			break
		}
		line = append(line, b[0])
	}
	return strings.TrimSpace(string(line)), nil
}
