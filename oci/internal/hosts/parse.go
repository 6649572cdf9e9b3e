package hosts

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxFile bounds a hosts.toml, which has some lines.
const maxFile = 256 << 10

// table is what a hosts.toml may say of one host. What it says else is for
// others.
type table struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   bool           `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
	DialTimeout  string         `toml:"dial_timeout"`
	Proxy        string         `toml:"proxy"`
}

// parse reads a hosts.toml that lies in dir. The host that its root describes
// comes last, without a name if there is no server.
func parse(dir string, doc []byte) ([]Host, error) {
	var f struct {
		table
		Server string           `toml:"server"`
		Hosts  map[string]table `toml:"host"`
	}
	if err := toml.Unmarshal(doc, &f); err != nil {
		return nil, syntax(err)
	}
	names, err := order(doc)
	if err != nil {
		return nil, syntax(err)
	}
	if len(names) != len(f.Hosts) {
		return nil, &Error{Key: "host", Err: errors.New(`write each host as a table: [host."https://mirror.example"]`)}
	}
	hosts := make([]Host, 0, len(names)+1)
	for _, name := range names {
		h, err := f.Hosts[name].host(dir, name)
		if err == nil && name == "" {
			err = &Error{Err: errors.New("it names no host")}
		}
		if e, ok := errors.AsType[*Error](err); ok {
			e.Key = strings.TrimSuffix(fmt.Sprintf("host.%q.%s", name, e.Key), ".")
		}
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, h)
	}
	h, err := f.host(dir, f.Server)
	if e, ok := errors.AsType[*Error](err); ok && e.Key == "" {
		e.Key = "server"
	}
	return append(hosts, h), err
}

// syntax names the key and line of an error of the TOML parser.
func syntax(err error) error {
	if d, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := d.Position()
		return &Error{Key: strings.Join(d.Key(), "."), Err: fmt.Errorf("line %d: %w", line, err)}
	}
	return &Error{Err: err}
}

// order returns the names of the tables below host as they come in the file,
// which a map forgets.
func order(doc []byte) (names []string, err error) {
	p := unstable.Parser{}
	p.Reset(doc)
	var at []string // the table that key and value belong to
	for p.NextExpression() {
		e := p.Expression()
		var key []string
		if e.Kind == unstable.KeyValue {
			key = slices.Clone(at)
		}
		for it := e.Key(); it.Next(); {
			key = append(key, string(it.Node().Data))
		}
		if e.Kind != unstable.KeyValue {
			at = key
		}
		if len(key) > 1 && key[0] == "host" && !slices.Contains(names, key[1]) {
			names = append(names, key[1])
		}
	}
	return names, p.Error()
}

// host reads the table of the host with the given address: a URL, or without its
// scheme, or "" where the file names no server.
func (t table) host(dir, address string) (h Host, err error) {
	if address != "" {
		if err := t.address(&h, address); err != nil {
			return Host{}, &Error{Err: err}
		}
	}
	h.SkipVerify = t.SkipVerify
	for _, read := range []struct {
		key string
		f   func(*Host, string) error
	}{
		{"capabilities", t.capabilities},
		{"ca", t.authorities},
		{"client", t.client},
		{"header", t.header},
		{"dial_timeout", t.dialTimeout},
		{"proxy", t.proxy},
	} {
		if err := read.f(&h, dir); err != nil {
			return Host{}, &Error{Key: read.key, Err: err}
		}
	}
	return h, nil
}

func (t table) address(h *Host, address string) error {
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return err
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%q is neither http nor https", u.Scheme)
	case u.Hostname() == "":
		return fmt.Errorf("%q names no host", address)
	}
	h.Scheme, h.Name = u.Scheme, u.Host
	h.Path = strings.TrimSuffix(path.Clean("/"+u.Path), "/")
	if !t.OverridePath && !strings.HasSuffix(h.Path, apiRoot) {
		h.Path += apiRoot
	}
	return nil
}

func (t table) capabilities(h *Host, _ string) error {
	for _, c := range t.Capabilities {
		switch strings.ToLower(c) {
		case "pull":
			h.Pull = true
		case "resolve":
			h.Resolve = true
		case "push":
			h.Push = true
		default:
			return fmt.Errorf("%q is none of pull, resolve and push", c)
		}
	}
	return nil
}

func (t table) authorities(h *Host, dir string) (err error) {
	h.CA, err = files(dir, t.CA)
	return err
}

// client reads one file, a list of files, or a list of pairs of them.
func (t table) client(h *Host, dir string) error {
	list, ok := t.Client.([]any)
	if !ok {
		list = []any{t.Client}
	}
	for _, v := range list {
		pair, err := files(dir, v)
		if err != nil {
			return err
		}
		switch len(pair) {
		case 0:
			if v != nil {
				return errors.New("a pair is a certificate and a key, not an empty list")
			}
		case 1:
			if _, ok := v.(string); !ok {
				return errors.New("a pair is a certificate and a key")
			}
			h.Client = append(h.Client, [2]string{pair[0]})
		case 2:
			h.Client = append(h.Client, [2]string{pair[0], pair[1]})
		default:
			return fmt.Errorf("a pair is a certificate and a key, not %d files", len(pair))
		}
	}
	return nil
}

// files reads nothing, the name of a file or a list of such names, which are
// relative to dir. An empty name stays empty.
func files(dir string, v any) ([]string, error) {
	names, err := texts(v)
	for i, name := range names {
		if name != "" && !filepath.IsAbs(name) {
			names[i] = filepath.Join(dir, name)
		}
	}
	return names, err
}

// texts reads nothing, a string or a list of strings.
func texts(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		var list []string
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("%v is not a string", e)
			}
			list = append(list, s)
		}
		return list, nil
	}
	return nil, fmt.Errorf("%v is neither a string nor a list", v)
}

func (t table) header(h *Host, _ string) error {
	for name, v := range t.Header {
		values, err := texts(v)
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		if h.Header == nil {
			h.Header = http.Header{}
		}
		for _, v := range values {
			h.Header.Add(name, v)
		}
	}
	return nil
}

func (t table) dialTimeout(h *Host, _ string) (err error) {
	if t.DialTimeout == "" {
		return nil
	}
	if h.DialTimeout, err = time.ParseDuration(t.DialTimeout); err == nil && h.DialTimeout < 0 {
		err = errors.New("it is negative")
	}
	return err
}

func (t table) proxy(h *Host, _ string) error {
	if t.Proxy == "" {
		return nil
	}
	u, err := url.Parse(t.Proxy)
	if err != nil {
		return err
	}
	if !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) || u.Host == "" ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("want SCHEME://HOST:PORT with http, https, socks5 or socks5h")
	}
	h.Proxy = u
	return nil
}
