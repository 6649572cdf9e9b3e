package oci

import (
	"cmp"
	"context"
	"crypto/md5" //nolint:gosec // a check sum that users compare with other tools, not a protection
	"encoding/hex"
	"os"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/oras-bsm/oras-bsm/oci/internal/multihash"
)

// A message is bytes of a file of which the MD5 is wanted.
type message struct {
	length int64
	open   func() (*os.File, error)
	read   func(f *os.File, b []byte, at int64) error // the next bytes: readSize, but for the last
	done   func(md5 string) error
}

// readSize is how much is read and hashed at a time: so little that it is still in
// the core's cache when it is hashed. Each lane has this much of one buffer.
const readSize = 4 << 20 / multihash.Lanes

// hashMessages starts up to workers goroutines in g that hash msgs, each of them
// as many at a time as there are lanes. It changes the order of msgs.
func hashMessages(ctx context.Context, g *errgroup.Group, msgs []*message, workers int) {
	workers = max(1, min(workers, len(msgs)))
	// The longest first, or the last lane works alone. Those of less than a
	// fraction of a lane's share are left in the order of their files, which is
	// kinder to disks.
	var total int64
	for _, m := range msgs {
		total += m.length
	}
	few := total / int64(4*workers*multihash.MD5Width)
	slices.SortStableFunc(msgs, func(a, b *message) int {
		return cmp.Compare(max(few, b.length), max(few, a.length))
	})
	var next atomic.Int64
	take := func() *message {
		if i := int(next.Add(1)) - 1; i < len(msgs) {
			return msgs[i]
		}
		return nil
	}
	for range workers {
		g.Go(func() error { return hashLanes(ctx, take) })
	}
}

// lane is a message that is hashed beside others.
type lane struct {
	*message
	f   *os.File
	at  int64  // bytes read
	buf []byte // where they are read to
	b   []byte // bytes read and not yet hashed
}

// hashLanes hashes messages, as many at a time as there are lanes, until take
// returns nil.
func hashLanes(ctx context.Context, take func() *message) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	var sums multihash.MD5
	lanes := make([]lane, multihash.MD5Width)
	defer func() {
		for _, l := range lanes {
			_ = l.f.Close() // of nil after the last message
		}
	}()
	for i := range lanes {
		lanes[i].buf = (*buf)[i*readSize : (i+1)*readSize]
	}
	for busy := true; busy; {
		if err := ctx.Err(); err != nil {
			return err
		}
		busy = false
		n := readSize
		var step [multihash.Lanes][]byte
		for i := range lanes {
			l := &lanes[i]
			if err := l.fill(&sums, i, take); err != nil {
				return err
			}
			if step[i] = l.b; l.b != nil {
				busy = true
				n = min(n, len(l.b)/md5.BlockSize*md5.BlockSize)
			}
		}
		if busy {
			sums.Write(&step, n)
		}
		for i := range lanes {
			if l := &lanes[i]; l.b != nil {
				l.b = l.b[n:]
			}
		}
	}
	return nil
}

// fill sees to it that l.b holds a block or more, of this message or of the next
// one. After the last it is nil.
func (l *lane) fill(sums *multihash.MD5, i int, take func() *message) (err error) {
	for len(l.b) < md5.BlockSize {
		switch {
		case l.message == nil:
			if l.message = take(); l.message == nil {
				return nil
			}
			if l.f, err = l.open(); err != nil {
				return err
			}
			l.at = 0
			sums.Reset(i)
		case l.at < l.length:
			// Nothing is left in l.b: all reads but the last are of whole blocks.
			l.b = l.buf[:min(readSize, l.length-l.at)]
			if err := l.read(l.f, l.b, l.at); err != nil {
				return err
			}
			l.at += int64(len(l.b))
		default:
			sum := sums.Sum(i, l.b)
			if err := l.done(hex.EncodeToString(sum[:])); err != nil {
				return err
			}
			_ = l.f.Close() // it was read only
			l.message, l.f, l.b = nil, nil, nil
		}
	}
	return nil
}
