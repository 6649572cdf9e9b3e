package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/oci/internal/hosts"
)

// restTime is how long a mirror that failed is asked after all others.
const restTime = time.Minute

// mirror is an endpoint of a mirrorSource. It is dialled when it is first asked.
type mirror struct {
	*endpoint
	rank int // in hosts.toml
	wait patience

	turn chan struct{} // holds one: who dials, or looks what came of it
	src  *registrySource

	mu     sync.Mutex
	failed time.Time // last; zero: since then it answered
	fault  error
}

// do dials the mirror if need be and hands it to f.
func (m *mirror) do(ctx context.Context, f func(Source) error) error {
	src, err := m.source(ctx)
	if err != nil {
		return err
	}
	err = f(src)
	if ctx.Err() == nil {
		m.note(err)
	}
	return err
}

// note remembers how the mirror did. That it does not have something says
// nothing against it.
func (m *mirror) note(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil:
		m.failed = time.Time{}
	case !errors.Is(err, ErrNotFound):
		m.failed, m.fault = time.Now(), err
	}
}

// source returns the dialled mirror. Who waited for another to dial in vain does
// not try again.
func (m *mirror) source(ctx context.Context) (*registrySource, error) {
	since := time.Now()
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-m.turn }()
	if m.src != nil {
		return m.src, nil
	}
	m.mu.Lock()
	failed, fault := m.failed, m.fault
	m.mu.Unlock()
	if failed.After(since) {
		return nil, fault
	}
	r, err := m.dial(ctx, transport.PullScope, m.wait)
	if err != nil {
		if ctx.Err() == nil {
			m.note(err)
		}
		return nil, err
	}
	m.src = newRegistrySource(r)
	return m.src, nil
}

// resting reports whether the mirror failed a short while ago.
func (m *mirror) resting() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.failed.IsZero() && time.Since(m.failed) < restTime
}

// mirrors are the endpoints of one artifact, in the order of hosts.toml.
type mirrors struct {
	ref  Reference
	list []*mirror

	mu   sync.Mutex
	desc ocispec.Descriptor // once resolved
	by   *mirror            // who resolved it, and has its manifest at hand
}

// mirrorSource reads one artifact at several endpoints, the first of which that
// has what is asked for and can give it is enough.
type mirrorSource struct {
	*mirrors
	avoid []*mirror // are asked last
}

// newMirrorSource returns a source that dials nobody yet. All but the last are
// asked once: that there is another to ask is better than patience.
func newMirrorSource(ref Reference, ends []*endpoint, wait patience) (Source, error) {
	s := &mirrorSource{mirrors: &mirrors{ref: ref}}
	for i, e := range ends {
		if e.host.Pull || e.host.Resolve {
			s.list = append(s.list, &mirror{endpoint: e, rank: i, wait: wait, turn: make(chan struct{}, 1)})
		}
	}
	if len(s.list) == 0 {
		return nil, errNoEndpoint
	}
	for _, m := range s.list[:len(s.list)-1] {
		m.wait.tries = 1
	}
	return s, nil
}

func mayPull(h *hosts.Host) bool    { return h.Pull }
func mayResolve(h *hosts.Host) bool { return h.Resolve }

// order returns the mirrors that may, the best first.
func (s *mirrorSource) order(may func(*hosts.Host) bool) []*mirror {
	var list []*mirror
	badness := map[*mirror]int{}
	for _, m := range s.list {
		if !may(&m.host) {
			continue
		}
		list = append(list, m)
		if i := slices.Index(s.avoid, m); i >= 0 {
			badness[m] = 2 + i
		} else if m.resting() {
			badness[m] = 1
		}
	}
	slices.SortStableFunc(list, func(a, b *mirror) int { return cmp.Compare(badness[a], badness[b]) })
	return list
}

// elsewhere returns a view of the source for a caller to whom it gave wrong
// bytes: the view asks another mirror first. It needs no Close.
func (s *mirrorSource) elsewhere() Source {
	v := &mirrorSource{mirrors: s.mirrors}
	if list := s.order(mayPull); len(list) > 0 {
		v.avoid = slices.DeleteFunc(slices.Clone(s.avoid), func(m *mirror) bool { return m == list[0] })
		v.avoid = append(v.avoid, list[0])
	}
	return v
}

// ask hands mirrors to f, one after the other, until it returns no error.
func (s *mirrorSource) ask(ctx context.Context, list []*mirror, f func(*mirror, Source) error) error {
	var faults mirrorFaults
	for _, m := range list {
		err := m.do(ctx, func(src Source) error { return f(m, src) })
		if err == nil || ctx.Err() != nil {
			return err
		}
		faults.add(m, err)
	}
	return faults.err()
}

// Resolve implements Source. What a tag names is said by those alone that are
// trusted with it.
func (s *mirrorSource) Resolve(ctx context.Context) (ocispec.Descriptor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by != nil {
		return s.desc, nil
	}
	may := mayResolve
	if s.ref.digest != "" {
		may = mayPull
	}
	err := s.ask(ctx, s.order(may), func(m *mirror, src Source) error {
		d, err := src.Resolve(ctx)
		if err == nil {
			s.desc, s.by = d, m
		}
		return err
	})
	if err != nil {
		return ocispec.Descriptor{}, fail("resolving", s.ref.String(), err)
	}
	return s.desc, nil
}

// Manifest implements Source.
func (s *mirrorSource) Manifest(ctx context.Context, d ocispec.Descriptor) (raw []byte, err error) {
	if err := checkDescriptor(d); err != nil {
		return nil, fail("reading manifest", d.Digest.String(), err)
	}
	list := s.order(mayPull)
	s.mu.Lock()
	if s.by != nil && s.desc.Digest == d.Digest {
		list = slices.Insert(list, 0, s.by)
	}
	s.mu.Unlock()
	err = s.ask(ctx, list, func(_ *mirror, src Source) error {
		raw, err = src.Manifest(ctx, d)
		return err
	})
	if err != nil {
		return nil, fail("reading manifest", d.Digest.String(), err)
	}
	return raw, nil
}

// Referrers implements Source. Mirrors often lack what the registry has of them:
// that there are none is taken from the last in hosts.toml alone.
func (s *mirrorSource) Referrers(ctx context.Context, d ocispec.Descriptor) (list []ocispec.Descriptor, err error) {
	asked := s.order(mayResolve)
	err = s.ask(ctx, asked, func(m *mirror, src Source) error {
		list, err = src.Referrers(ctx, d)
		last := !slices.ContainsFunc(asked, func(o *mirror) bool { return o.rank > m.rank })
		if err == nil && len(list) == 0 && !last {
			return fmt.Errorf("%w: it knows of none", ErrNotFound)
		}
		return err
	})
	if err != nil {
		return nil, fail("listing the referrers of", d.Digest.String(), err)
	}
	return list, nil
}

// Blob implements Source. The reader goes on at the next mirror when one fails.
func (s *mirrorSource) Blob(ctx context.Context, d ocispec.Descriptor, off, n int64) (io.ReadCloser, error) {
	end, err := blobRange(d, off, n)
	if err == nil {
		r := &mirrorReader{ctx: ctx, src: s, left: s.order(mayPull), desc: d, pos: off, end: end}
		if err = r.next(); err == nil {
			return r, nil
		}
	}
	return nil, &Error{Op: "reading blob", Object: d.Digest.String(), Offset: off, Err: err}
}

// Close implements Source.
func (s *mirrorSource) Close() error {
	for _, m := range s.list {
		if m.src != nil {
			_ = m.src.Close()
		}
	}
	return nil
}

// mirrorReader reads a range of a blob, at each mirror at most once.
type mirrorReader struct {
	ctx      context.Context
	src      *mirrorSource
	left     []*mirror // who were not asked yet
	faults   mirrorFaults
	desc     ocispec.Descriptor
	pos, end int64

	at   *mirror // whom body is of
	body io.ReadCloser
	err  error // sticky
}

// next opens the rest of the range at the next mirror that has it.
func (r *mirrorReader) next() error {
	for len(r.left) > 0 {
		r.at, r.left = r.left[0], r.left[1:]
		err := r.at.do(r.ctx, func(src Source) (err error) {
			r.body, err = src.Blob(r.ctx, r.desc, r.pos, r.end-r.pos)
			return err
		})
		if err == nil || r.ctx.Err() != nil {
			return err
		}
		r.faults.add(r.at, err)
	}
	return r.faults.err()
}

// unranged reports whether the mirror sends the whole blob for a range of it.
func (r *mirrorReader) unranged() bool {
	u, ok := r.body.(interface{ unranged() bool })
	return ok && u.unranged()
}

// Read implements io.Reader. An error names the offset.
func (r *mirrorReader) Read(p []byte) (int, error) {
	for {
		if r.err != nil {
			return 0, r.err
		}
		n, err := r.body.Read(p)
		r.pos += int64(n)
		if n > 0 || err == nil || r.pos == r.end && errors.Is(err, io.EOF) {
			return n, err
		}
		r.err = r.failed(err)
	}
}

// failed goes on at the next mirror after err.
func (r *mirrorReader) failed(err error) error {
	_ = r.body.Close()
	if r.ctx.Err() == nil {
		r.at.note(err)
		r.faults.add(r.at, err)
		err = r.next()
	}
	if err != nil {
		return &Error{Op: "reading blob", Object: r.desc.Digest.String(), Offset: r.pos, Err: bare(err)}
	}
	return nil
}

// Close implements io.Closer.
func (r *mirrorReader) Close() error {
	open := r.err == nil
	r.err = http.ErrBodyReadAfterClose
	if open {
		return r.body.Close()
	}
	return nil
}

// mirrorFaults say of each mirror that was asked why it did not answer.
type mirrorFaults []mirrorFault

type mirrorFault struct {
	rank int
	host string
	err  error
}

func (f *mirrorFaults) add(m *mirror, err error) {
	*f = append(*f, mirrorFault{m.rank, displayHost(m.host.Name), bare(err)})
}

// bare takes from err the names of what was read, which all mirrors share.
func bare(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Err
	}
	return err
}

func (f mirrorFaults) err() error {
	if len(f) == 0 {
		return errNoEndpoint
	}
	return f
}

func (f mirrorFaults) Error() string {
	var s []string
	for _, x := range f {
		msg := x.err.Error()
		if !strings.Contains(msg, x.host) {
			msg = x.host + ": " + msg
		}
		s = append(s, msg)
	}
	return strings.Join(s, "; then ")
}

// Unwrap returns the fault of the last in hosts.toml: the registry itself knows
// better than its mirrors what there is.
func (f mirrorFaults) Unwrap() error {
	return slices.MaxFunc(f, func(a, b mirrorFault) int { return cmp.Compare(a.rank, b.rank) }).err
}
