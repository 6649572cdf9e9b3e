package model

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// A shard is one safetensors file.
type shard struct {
	name    string
	tensors []*tensor
	header  []byte
	size    int64
}

// layOut gives every tensor its place in the file and writes the header:
// https://huggingface.co/docs/safetensors, "Format".
func (s *shard) layOut() error {
	slices.SortFunc(s.tensors, compareTensors)
	doc := bytes.NewBufferString(`{"__metadata__":{"format":"pt"}`)
	var end int64
	for _, t := range s.tensors {
		t.offset = end
		end += t.size
		name, err := json.Marshal(t.name)
		if err != nil {
			return err
		}
		entry, err := json.Marshal(struct {
			Dtype   string   `json:"dtype"`
			Shape   []int64  `json:"shape"`
			Offsets [2]int64 `json:"data_offsets"`
		}{t.dtype, t.shape, [2]int64{t.offset, end}})
		if err != nil {
			return err
		}
		fmt.Fprintf(doc, ",%s:%s", name, entry)
	}
	doc.WriteByte('}')
	for doc.Len()%8 != 0 {
		doc.WriteByte(' ')
	}
	s.header = append(binary.LittleEndian.AppendUint64(nil, uint64(doc.Len())), doc.Bytes()...)
	for _, t := range s.tensors {
		t.offset += int64(len(s.header))
	}
	s.size = int64(len(s.header)) + end
	return nil
}

// A unit is the rows [from, to) of a matrix: what one worker does at a time.
type unit struct {
	*matrix
	from, to int64
	columns  []float32
}

// unitWeights bounds the weights of a unit, unless one row has more.
const unitWeights = 256 << 10

// writeShards draws all weights and writes them where they belong. As every
// place is known, the units can be written in any order.
func (p *plan) writeShards(dir string) (err error) {
	files := make([]*os.File, len(p.shards))
	defer func() {
		for _, f := range files {
			if f == nil {
				continue
			}
			if e := f.Close(); err == nil {
				err = e
			}
		}
	}()
	for i, s := range p.shards {
		if files[i], err = createShard(dir, s); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(context.Background())
	units := make(chan unit)
	g.Go(func() error {
		defer close(units)
		return p.sendUnits(ctx, units)
	})
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			var w worker
			for u := range units {
				if err := w.do(u, files); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// createShard makes the file of s, with its header and in its final size.
func createShard(dir string, s shard) (*os.File, error) {
	f, err := os.Create(filepath.Join(dir, s.name))
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(s.header); err == nil {
		err = f.Truncate(s.size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sendUnits cuts all matrices into units.
func (p *plan) sendUnits(ctx context.Context, units chan<- unit) error {
	for _, m := range p.matrices {
		step := max(1, unitWeights/m.cols)
		columns := columnScales(int(m.cols), m.seed)
		for from := int64(0); from < m.rows; from += step {
			u := unit{m, from, min(from+step, m.rows), columns}
			select {
			case units <- u:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// A worker holds the buffers that its units reuse.
type worker struct {
	weights []float32
	parts   [2][]byte
}

// do draws the weights of u, encodes them and writes them to their files.
func (w *worker) do(u unit, files []*os.File) error {
	n := int((u.to - u.from) * u.cols)
	if cap(w.weights) < n {
		w.weights = make([]float32, n)
	}
	values := w.weights[:n]
	u.draw(values)
	for i := range w.parts {
		w.parts[i] = w.parts[i][:0]
	}
	u.dtype.encode(w.parts[:], values, int(u.cols), globalScale(u.seed))
	for i, t := range u.parts {
		if _, err := files[t.shard].WriteAt(w.parts[i], t.offset+u.from*t.rowBytes); err != nil {
			return err
		}
	}
	return nil
}

// draw fills dst with the rows of u.
func (u unit) draw(dst []float32) {
	switch u.kind {
	case kindNorm:
		fillNorm(dst, u.seed)
	case kindGlobal:
		dst[0] = globalScale(u.seed)
	default:
		for i := range int(u.to - u.from) {
			row := dst[i*int(u.cols):][:u.cols]
			fillRow(row, u.columns, u.seed, int(u.from)+i)
		}
	}
}

// globalScale returns the global scale of an NVFP4 matrix: that of a largest
// weight near one, which fits what [Matrix] draws. A quantiser would look for
// the largest weight first; that would mean to draw every matrix twice.
func globalScale(seed uint64) float32 {
	const groupMax, codeMax = 448, 6
	amax := 1 + float32(seed>>40)/(1<<25)
	return amax / (groupMax * codeMax)
}
