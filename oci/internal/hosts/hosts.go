// Package hosts reads what containerd knows of registries: a tree with a
// directory for each of them, which holds a hosts.toml with its mirrors, or its
// certificates as Docker lays them out. The reference is docs/hosts.md of
// containerd 2.
package hosts

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Host is an endpoint of a registry: a mirror, or the registry itself.
type Host struct {
	Scheme string // http or https; "": not said, as for a registry that has no file
	Name   string // HOST[:PORT]
	Path   string // of the API, without a slash at its end: "/v2"

	// What the host is trusted with: to read by digest, to say what a tag names,
	// and to write.
	Pull, Resolve, Push bool

	CA         []string    // files of authorities to trust beside the system's
	Client     [][2]string // files of certificate and key; without the second, both are in the first
	SkipVerify bool        // take any certificate
	Header     http.Header // sent with every request to the host
	Proxy      *url.URL    // instead of that of the environment; nil: not said

	DialTimeout time.Duration // 0: not said
}

// Error says which part of a configuration is refused.
type Error struct {
	File string
	Key  string // as in the file; "": the file as a whole
	Err  error
}

func (e *Error) Error() string {
	s := e.File + ": "
	if e.Key != "" {
		s += e.Key + ": "
	}
	return s + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

const (
	fileName = "hosts.toml"
	fallback = "_default" // the directory for registries without one of their own
	apiRoot  = "/v2"
)

// Load returns the endpoints of registry, HOST or HOST:PORT, in the order in
// which they are to be asked. The registry itself comes last and is all there is
// where dir says nothing of it. Without a dir nothing is read.
func Load(dir, registry string) ([]Host, error) {
	hosts := []Host{{}}
	own, err := find(dir, registry)
	if err != nil {
		return nil, err
	}
	if own != "" {
		if hosts, err = read(own); err != nil {
			return nil, err
		}
	}
	for i := range hosts {
		if hosts[i].Name == "" {
			hosts[i].Name, hosts[i].Path = registry, apiRoot
		}
		if !hosts[i].Pull && !hosts[i].Resolve && !hosts[i].Push {
			hosts[i].Pull, hosts[i].Resolve, hosts[i].Push = true, true, true
		}
	}
	return hosts, nil
}

// find returns the directory of a registry, or "". A name that is no element of
// a path has none.
func find(dir, registry string) (string, error) {
	names := []string{registry, fallback}
	if _, port, err := net.SplitHostPort(registry); err == nil {
		// The form without a colon, which not every file system takes.
		host := strings.TrimSuffix(registry, ":"+port)
		names = append([]string{host + "_" + port + "_"}, names...)
	}
	for _, name := range names {
		if dir == "" || !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) {
			continue
		}
		p := filepath.Join(dir, name)
		_, err := os.Stat(p)
		if err == nil {
			return p, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", nil
}

// read reads the directory of one registry.
func read(dir string) ([]Host, error) {
	name := filepath.Join(dir, fileName)
	doc, err := ReadFile(name, maxFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(doc) == 0 {
		return readCertificates(dir)
	}
	hosts, err := parse(dir, doc)
	if e, ok := errors.AsType[*Error](err); ok {
		e.File = name
	}
	return hosts, err
}

// readCertificates reads Docker's layout: NAME.crt is an authority, NAME.cert a
// client's certificate and NAME.key its key.
func readCertificates(dir string) ([]Host, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name()] = !e.IsDir()
	}
	var h Host
	for _, e := range entries {
		name := e.Name()
		path := filepath.Join(dir, name)
		switch {
		case !there[name]:
		case strings.HasSuffix(name, ".crt"):
			h.CA = append(h.CA, path)
		case strings.HasSuffix(name, ".cert"):
			key := strings.TrimSuffix(name, ".cert") + ".key"
			if there[key] {
				key = filepath.Join(dir, key)
			} else {
				key = ""
			}
			h.Client = append(h.Client, [2]string{path, key})
		}
	}
	return []Host{h}, nil
}

// ReadFile returns the content of a file of at most limit bytes.
func ReadFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, &Error{File: name, Err: fmt.Errorf("it has more than %d bytes", limit)}
	}
	return b, nil
}
