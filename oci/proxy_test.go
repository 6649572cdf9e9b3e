package oci

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// serveProxy runs a proxy that takes every name for the registry at to. It
// returns its URL and what it was asked for.
func serveProxy(t testing.TB, to string) (string, *requests) {
	var asked requests
	var tunnels sync.WaitGroup
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.add(r)
		if r.Method == http.MethodConnect {
			tunnels.Add(1)
			defer tunnels.Done()
			tunnel(w, to)
			return
		}
		r.RequestURI = ""
		r.URL.Host = to
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	t.Cleanup(func() {
		tunnels.Wait()
		srv.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return srv.URL, &asked
}

// tunnel connects a client with a server until either has enough.
func tunnel(w http.ResponseWriter, to string) {
	server, err := net.Dial("tcp", to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer server.Close()
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
	_ = client.Close()
	<-done
}

// TestProxyOfHost reads through the proxies that hosts.toml names, by CONNECT
// and by plain requests. There is no such registry outside them.
func TestProxyOfHost(t *testing.T) {
	m := newModel(t, 96)
	a := newAuthority(t)
	https := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{a.server(t, nil)}}, nil)
	m.publishTo(t, parseRef(t, https+"/org/model:v1"), StoreOptions{CAFile: a.file})
	plain := newStub(t, nil)
	m.publish(t, plain.ref(t))
	ref := parseRef(t, "registry.example/org/model:v1")
	for _, tt := range []struct{ scheme, to, method string }{
		{"https", https, "CONNECT registry.example:443"},
		{"http", plain.host, "GET registry.example"},
	} {
		t.Run(tt.scheme, func(t *testing.T) {
			proxy, asked := serveProxy(t, tt.to)
			src := openMirrored(t, ref, fmt.Sprintf("server = '%s://registry.example'\nproxy = %q", tt.scheme, proxy), StoreOptions{CAFile: a.file})
			readAll(t, src, m)
			_ = src.Close()
			got := asked.all()
			if len(got) == 0 || got[0].Method+" "+got[0].Host != tt.method {
				t.Errorf("the proxy was asked for %v", got)
			}
			if tt.method[:3] == "CON" && len(got) != 1 {
				t.Errorf("%d tunnels", len(got))
			}
		})
	}
}

// publishTo is publish with options.
func (m model) publishTo(t testing.TB, ref Reference, o StoreOptions) {
	t.Helper()
	target, err := openRegistryTarget(t.Context(), ref, &o, hasty)
	if err != nil {
		t.Fatal(err)
	}
	m.put(t, target)
	if err := errors.Join(target.Publish(t.Context(), m.index.Descriptor), target.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestProxyOfEnvironment runs itself in processes whose environment names
// proxies: net/http reads them once.
func TestProxyOfEnvironment(t *testing.T) {
	ref := parseRef(t, "registry.example/org/model:v1")
	if dir := os.Getenv("BSM_TEST_HOSTS_DIR"); dir != "" {
		src, err := openRegistrySource(t.Context(), ref, &StoreOptions{HostsDir: dir}, hasty)
		if err != nil {
			t.Fatal(err)
		}
		d, err := src.Resolve(t.Context())
		if err := errors.Join(err, src.Close()); err != nil {
			t.Fatal(err)
		}
		fmt.Println("resolved", d.Digest)
		return
	}
	m := newModel(t, 97)
	a := newAuthority(t)
	https := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{a.server(t, nil)}}, nil)
	m.publishTo(t, parseRef(t, https+"/org/model:v1"), StoreOptions{CAFile: a.file})
	plain := newStub(t, nil)
	m.publish(t, plain.ref(t))
	for _, tt := range []struct{ variable, file, to string }{
		{"HTTPS_PROXY", fmt.Sprintf("server = 'https://registry.example'\nca = %q", a.file), https},
		{"HTTP_PROXY", "server = 'http://registry.example'", plain.host},
	} {
		t.Run(tt.variable, func(t *testing.T) {
			proxy, asked := serveProxy(t, tt.to)
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxyOfEnvironment$")
			cmd.Env = append(os.Environ(), "BSM_TEST_HOSTS_DIR="+hostsDir(t, "registry.example", tt.file), "NO_PROXY=", tt.variable+"="+proxy)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "resolved "+m.index.Digest.String()) || len(asked.all()) == 0 {
				t.Fatalf("%v, %d requests\n%s", err, len(asked.all()), out)
			}
		})
	}
}
