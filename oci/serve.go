package oci

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"time"
)

// ServeOptions are the options of Serve.
type ServeOptions struct {
	// Listen is the address to listen on, HOST:PORT. Default: DefaultListen.
	Listen string
	// CertFile and KeyFile hold a certificate chain and its key, in PEM. Without
	// them plain http is spoken.
	CertFile, KeyFile string
	// Started is told once where requests are answered.
	Started func(ServeResult)
	// Warn is told what a user should know, of a damaged manifest for example,
	// by many goroutines at once.
	Warn func(msg string)
}

// DefaultListen is reached from this machine alone.
const DefaultListen = "127.0.0.1:5000"

// What a client of a server is given.
const (
	headerTime   = 10 * time.Second // to send the header of a request
	bodyTime     = 10 * time.Second // to send a body, of which none is looked at
	idleTime     = 2 * time.Minute  // between requests
	maxHeader    = 16 << 10         // bytes of a header
	shutdownTime = 1500 * time.Millisecond
	pieceTime    = time.Minute // to take answerPiece bytes of an answer
	answerPiece  = 1 << 20
)

// Serve answers the pull half of the distribution spec v1.1 from the layout or
// archive ref, under every repository name, until ctx ends; that is no error.
// A layout may change meanwhile: index.json is read for each request. An archive
// that is replaced is served as it was.
func Serve(ctx context.Context, ref Reference, o *ServeOptions) error {
	return fail("serving", ref.storeName(), serve(ctx, ref, o))
}

func serve(ctx context.Context, ref Reference, o *ServeOptions) error {
	var opts ServeOptions
	if o != nil {
		opts = *o
	}
	if opts.Listen == "" {
		opts.Listen = DefaultListen
	}
	if opts.Warn == nil {
		opts.Warn = func(string) {}
	}
	f, err := openStore(ref)
	if err != nil {
		return err
	}
	defer f.Close()
	srv := &http.Server{
		Handler:           newHandler(f, ref, opts.Warn),
		ReadHeaderTimeout: headerTime,
		WriteTimeout:      pieceTime, // see pacedWriter
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(warner(opts.Warn), "", 0),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	res := ServeResult{Ref: ref.storeName(), URL: "http://"}
	if opts.CertFile != "" || opts.KeyFile != "" {
		cert, err := tls.LoadX509KeyPair(opts.CertFile, opts.KeyFile)
		if err != nil {
			return err
		}
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		res.URL = "https://"
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", opts.Listen)
	if err != nil {
		return err
	}
	res.Address = l.Addr().String()
	res.URL += res.Address
	if !isLoopback(res.Address) {
		opts.Warn("everybody who reaches " + res.Address + " can read all of " + ref.storeName() + ": nobody is asked for a password")
	}
	if opts.Started != nil {
		opts.Started(res)
	}
	return serveUntil(ctx, srv, l)
}

// serveUntil serves until ctx ends, gives the answers under way a moment, and cuts off
// the rest.
func serveUntil(ctx context.Context, srv *http.Server, l net.Listener) error {
	stopped := make(chan error, 1)
	go func() {
		if srv.TLSConfig != nil {
			stopped <- srv.ServeTLS(l, "", "")
		} else {
			stopped <- srv.Serve(l)
		}
	}()
	select {
	case err := <-stopped:
		return errors.Join(err, srv.Close())
	case <-ctx.Done():
	}
	// A moment of its own: the context has ended.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if err := srv.Shutdown(last); err != nil {
		_ = srv.Close()
	}
	if err := <-stopped; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// warner is the log of an http.Server.
type warner func(string)

func (w warner) Write(p []byte) (int, error) {
	w(plainText(string(p)))
	return len(p), nil
}
