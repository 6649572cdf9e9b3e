// Command oras-bsm stores model directories in OCI registries, losslessly
// compressed with one layer per transformer block, and gets them back.
//
//	oras-bsm push oci:./model.oci:v1 ./model
//	oras-bsm pull oci:./model.oci:v1 -o ./out
//
// Run oras-bsm help for all commands, oras-bsm help exit-codes for what its
// exit codes mean.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	// With somebody listening, a write to a closed pipe is an error like any
	// other and not the end of the program: it must not change the exit code.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	log.SetOutput(io.Discard) // where net/http complains of servers

	// Decoders reuse their buffers, so the heap that is alive is small; by
	// default it may double before it is collected. A soft limit has it
	// collected earlier instead. Who sets GOMEMLIMIT knows better.
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(256 << 20)
	}
	a := &app{stdin: os.Stdin, stdout: &output{w: os.Stdout}, stderr: os.Stderr}
	cmd, err := newRoot(a).ExecuteContextC(ctx)
	// What is wrong with a command line may come before what it says of JSON.
	a.json = a.json || !a.started && slices.Contains(os.Args, "--json")
	os.Exit(a.finish(ctx, cmd, err))
}
