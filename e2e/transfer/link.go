package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"golang.org/x/time/rate"
)

// burst is how much a link passes at once.
const burst = 256 << 10

// A link passes connections on to a server, which all together bring no more than
// its rate. The kernel moves the bytes, so that the link takes little of the time
// that is measured.
type link struct {
	net.Listener
	server string // host:port
	limit  *rate.Limiter

	done sync.WaitGroup
	mu   sync.Mutex
	open map[net.Conn]bool // nil: closed
}

// newLink listens on the loopback interface.
func newLink(server string) (*link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &link{Listener: l, server: server, limit: rate.NewLimiter(rate.Inf, burst), open: map[net.Conn]bool{}}
	k.done.Go(k.serve)
	return k, nil
}

// setRate sets the rate, in Gb/s; 0 is none.
func (l *link) setRate(gbits float64) {
	l.limit.SetLimit(rate.Inf)
	if gbits > 0 {
		l.limit.SetLimit(rate.Limit(gbits * 1e9 / 8))
	}
}

func (l *link) serve() {
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed
		}
		l.done.Go(func() { l.pass(c) })
	}
}

// pass passes one connection on until either side is done.
func (l *link) pass(client net.Conn) {
	if !l.hold(client) {
		return
	}
	defer l.drop(client)
	server, err := net.Dial("tcp", l.server)
	if err != nil || !l.hold(server) {
		return
	}
	defer l.drop(server)
	l.done.Go(func() {
		_, _ = io.Copy(server, client) // an end of either kind ends the connection
		l.drop(server)
	})
	for err == nil {
		if err = l.limit.WaitN(context.Background(), burst); err == nil {
			_, err = io.CopyN(client, server, burst)
		}
	}
}

// hold remembers an open connection, or closes it after Close.
func (l *link) hold(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		_ = c.Close()
		return false
	}
	l.open[c] = true
	return true
}

func (l *link) drop(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = c.Close() // whoever is at the other end has noticed
	delete(l.open, c)
}

// Close ends all connections.
func (l *link) Close() error {
	err := l.Listener.Close()
	l.mu.Lock()
	for c := range l.open {
		err = errors.Join(err, c.Close())
	}
	l.open = nil
	l.mu.Unlock()
	l.done.Wait()
	return err
}
