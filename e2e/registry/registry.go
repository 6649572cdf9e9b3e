// Package registry runs a real registry on this machine, for tests and
// demonstrations: the program docker-registry, which Debian packages, or where
// that is not installed one inside this process.
package registry

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Program is the name of the registry that is looked for.
const Program = "docker-registry"

// Options say how the registry is reached. Nil means plain http for anybody.
type Options struct {
	TLS       bool   // speak https: see Server.CA
	Htpasswd  string // lines of user:bcrypt; only these users are let in
	InProcess bool   // do not look for Program
}

// Server is a running registry. It listens on the loopback interface only.
type Server struct {
	Addr string // host:port, such as 127.0.0.1:40321
	Name string // what runs: for people
	CA   string // a file with the certificate to trust, in PEM; "" without TLS
	Real bool   // Program runs, and not its stand-in

	dir  string
	stop func() error
}

// Installed reports whether Program can be run.
func Installed() bool {
	_, err := exec.LookPath(Program)
	return err == nil
}

// Start starts a registry that keeps its files below a temporary directory, and
// waits until it answers. Without Program there is one in this process, of the
// same protocol and without TLS and users. The caller calls Stop.
func Start(ctx context.Context, o *Options) (*Server, error) {
	if o == nil {
		o = &Options{}
	}
	dir, err := os.MkdirTemp("", "registry-*")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	if Installed() && !o.InProcess {
		err = s.startProgram(ctx, o)
	} else {
		err = s.startInProcess(o)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting a registry: %w", err), os.RemoveAll(dir))
	}
	return s, nil
}

// Stop ends the registry and removes its files.
func (s *Server) Stop() error {
	return errors.Join(s.stop(), os.RemoveAll(s.dir))
}

// Dir is where the registry keeps its files.
func (s *Server) Dir() string { return filepath.Join(s.dir, "data") }

// startInProcess serves blobs from the disk. Uploads pass through memory.
func (s *Server) startInProcess(o *Options) error {
	if o.TLS || o.Htpasswd != "" {
		return errors.New("TLS and users need " + Program + ", which is not installed")
	}
	if err := os.Mkdir(s.Dir(), 0o700); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: registry.New(
			registry.WithBlobHandler(registry.NewDiskBlobHandler(s.Dir())),
			registry.Logger(log.New(io.Discard, "", 0)),
		),
		ReadHeaderTimeout: time.Minute,
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	s.Addr, s.Name = l.Addr().String(), "the registry of go-containerregistry, in this process"
	s.stop = func() error {
		err := server.Close()
		if served := <-done; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}
	return nil
}

// portTries is how many ports are tried. One that was free may be taken by
// another program before the registry has it.
const portTries = 5

func (s *Server) startProgram(ctx context.Context, o *Options) error {
	s.Name, s.Real = Program, true
	// It prints "docker-registry MODULE VERSION", and is no worse if it does not.
	if out, err := exec.CommandContext(ctx, Program, "--version").Output(); err == nil {
		if f := strings.Fields(string(out)); len(f) > 0 {
			s.Name += " " + f[len(f)-1]
		}
	}
	client, err := s.client(o)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	for range portTries {
		if err = s.launch(ctx, o, client); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// client returns a client that trusts this registry alone, whose certificate it
// makes.
func (s *Server) client(o *Options) (*http.Client, error) {
	pool := x509.NewCertPool()
	if o.TLS {
		s.CA = filepath.Join(s.dir, "ca.pem")
		ca, err := writeCertificates(s.CA, s.certFile(), s.keyFile())
		if err != nil {
			return nil, err
		}
		pool.AddCert(ca)
	}
	return &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}},
		Timeout:   time.Second,
	}, nil
}

func (s *Server) certFile() string { return filepath.Join(s.dir, "server.pem") }
func (s *Server) keyFile() string  { return filepath.Join(s.dir, "server.key") }

// launch starts Program on a port that was free a moment ago.
func (s *Server) launch(ctx context.Context, o *Options, client *http.Client) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	s.Addr = port
	config, err := s.writeConfig(o)
	if err != nil {
		return err
	}
	var output bytes.Buffer // read when the process is gone
	cmd := exec.Command(Program, "serve", config)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "OTEL_TRACES_EXPORTER=none"}
	if err := cmd.Start(); err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(gone)
	}()
	s.stop = func() error { return stopProcess(cmd.Process, gone) }
	if err := s.await(ctx, o, client, gone); err != nil {
		err = errors.Join(err, s.stop())
		return fmt.Errorf("%w\n%s", err, output.Bytes())
	}
	return nil
}

// freePort returns an address of the loopback interface that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// writeConfig writes the configuration file: distribution's docs/configuration.md.
func (s *Server) writeConfig(o *Options) (string, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n")
	fmt.Fprintf(&b, "storage:\n  filesystem:\n    rootdirectory: %q\n", s.Dir())
	fmt.Fprintf(&b, "http:\n  addr: %q\n", s.Addr)
	if o.TLS {
		fmt.Fprintf(&b, "  tls:\n    certificate: %q\n    key: %q\n", s.certFile(), s.keyFile())
	}
	if o.Htpasswd != "" {
		users := filepath.Join(s.dir, "htpasswd")
		if err := os.WriteFile(users, []byte(o.Htpasswd), 0o600); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "auth:\n  htpasswd:\n    realm: test\n    path: %q\n", users)
	}
	name := filepath.Join(s.dir, "config.yml")
	return name, os.WriteFile(name, b.Bytes(), 0o600)
}

const (
	startPatience = 20 * time.Second
	startPoll     = 20 * time.Millisecond
	stopPatience  = 5 * time.Second
)

// await asks until the registry answers as one.
func (s *Server) await(ctx context.Context, o *Options, client *http.Client, gone <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	scheme := "http"
	if o.TLS {
		scheme = "https"
	}
	tick := time.NewTicker(startPoll)
	defer tick.Stop()
	for {
		err := ping(ctx, client, scheme+"://"+s.Addr+"/v2/")
		if err == nil {
			return nil
		}
		select {
		case <-gone:
			return errors.New(Program + " ended at once")
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// ping asks what every registry answers, or wants credentials for:
// distribution-spec, "Determining Support".
func ping(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return nil
}

// stopProcess asks the process to end, and then makes it.
func stopProcess(p *os.Process, gone <-chan struct{}) error {
	err := p.Signal(syscall.SIGTERM)
	select {
	case <-gone:
	case <-time.After(stopPatience):
		err = p.Kill()
		<-gone
	}
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
