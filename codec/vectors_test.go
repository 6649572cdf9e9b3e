package codec

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

//go:generate go run ./testdata

// vector is a file of testdata/vectors: see the end of FORMAT.md, "Security
// considerations".
type vector struct {
	name   string
	expect string // success, corrupt, unsupported or truncated
	dtype  Dtype
	sha256 string // of the decoded bytes that are released before the error
	layer  []byte
}

func parseVector(name string, b []byte) (v vector, err error) {
	v.name = name
	header, body, ok := strings.Cut(string(b), "\n\n")
	if !ok {
		return v, errors.New("no empty line")
	}
	for line := range strings.Lines(header) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if !ok {
			return v, fmt.Errorf("header line %q", line)
		}
		switch key {
		case "expect":
			v.expect = value
		case "dtype":
			if v.dtype = DtypeOf(value); v.dtype.String() != value {
				return v, fmt.Errorf("dtype %q", value)
			}
		case "sha256":
			v.sha256 = value
		case "comment":
		default:
			return v, fmt.Errorf("header line %q", line)
		}
	}
	v.layer, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(body, "\n", ""))
	return v, err
}

func readVectors(t testing.TB) (list []vector) {
	t.Helper()
	files, err := filepath.Glob("testdata/vectors/*")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d vectors: %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := parseVector(filepath.Base(file), b)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		list = append(list, v)
	}
	return list
}

// outcome names the kind of err as the headers of vectors do.
func outcome(err error) string {
	var c *CorruptError
	switch {
	case err == nil:
		return "success"
	case errors.Is(err, ErrUnsupported) && !errors.As(err, &c):
		return "unsupported"
	case errors.As(err, &c) && errors.Is(err, io.ErrUnexpectedEOF):
		return "truncated"
	case errors.As(err, &c):
		return "corrupt"
	}
	return err.Error()
}

// readRandom reads a whole layer through OpenLayer and ReadAt.
func readRandom(b []byte) ([]byte, error) {
	l, err := OpenLayer(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	decoded := make([]byte, l.Size())
	n, err := l.ReadAt(decoded, 0)
	return decoded[:n], err
}

// readChunks does what readRandom does, by a Decoder of the given implementation.
func readChunks(impl string, b []byte) (decoded []byte, err error) {
	l, err := OpenLayer(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	dec := NewDecoder(l.prologue)
	if err := dec.Use(impl); err != nil {
		return nil, err
	}
	for _, c := range l.Chunks() {
		dst := make([]byte, c.Decoded)
		if err := dec.Decode(dst, b[c.Offset:][:c.Encoded]); err != nil {
			return decoded, at(c.Offset, err)
		}
		decoded = append(decoded, dst...)
	}
	return decoded, nil
}

func TestVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.name, func(t *testing.T) {
			whole, err := readAll(bytes.NewReader(v.layer))
			if got := outcome(err); got != v.expect {
				t.Errorf("Reader: %s (%v), want %s", got, err, v.expect)
			}
			if sum := sha256.Sum256(whole); hex.EncodeToString(sum[:]) != v.sha256 {
				t.Errorf("Reader released %d bytes, and not those of the vector", len(whole))
			}
			random, randomErr := readRandom(v.layer)
			testAlike(t, v, whole, err, random, randomErr)
			if v.expect != "success" {
				if got := outcome(randomErr); got != "corrupt" && got != "unsupported" && got != "truncated" {
					t.Errorf("ReadAt: %s, want %s", got, v.expect)
				}
				if !bytes.HasPrefix(whole, random) {
					t.Errorf("ReadAt released %d bytes, not the %d of Reader", len(random), len(whole))
				}
				return
			}
			if randomErr != nil || !bytes.Equal(random, whole) {
				t.Errorf("ReadAt: %d bytes of %d, %v", len(random), len(whole), randomErr)
			}
			testRanges(t, v.layer, whole)
			testEncodeAgain(t, v, whole)
		})
	}
}

// testAlike reads a vector in other ways, and with each implementation, which must
// not make a difference to what Reader and ReadAt gave.
func testAlike(t *testing.T, v vector, whole []byte, wholeErr error, random []byte, randomErr error) {
	t.Helper()
	check := func(name string, got []byte, err error, want []byte, wantErr error) {
		if !bytes.Equal(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Errorf("%s: %d bytes, %v; want %d, %v", name, len(got), err, len(want), wantErr)
		}
	}
	got, err := readAll(iotest.OneByteReader(bytes.NewReader(v.layer)))
	check("Reader, byte by byte", got, err, whole, wholeErr)
	for _, impl := range Implementations() {
		got, err = readWith(impl, bytes.NewReader(v.layer), math.MaxInt)
		check("Reader, "+impl, got, err, whole, wholeErr)
		got, err = readChunks(impl, v.layer)
		check("Decoder, "+impl, got, err, random, randomErr)
	}
}

// testRanges reads ranges at random and compares them with the decoded layer.
func testRanges(t *testing.T, b, want []byte) {
	t.Helper()
	l, err := OpenLayer(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 3))
	for range 20 {
		from := r.IntN(len(want) + 1)
		to := from + r.IntN(min(len(want)-from, 10_000)+1)
		got := make([]byte, to-from)
		if n, err := l.ReadAt(got, int64(from)); err != nil || !bytes.Equal(got, want[from:to]) {
			t.Fatalf("ReadAt(%d bytes, %d) = %d, %v", to-from, from, n, err)
		}
	}
}

// testEncodeAgain encodes what a vector decodes to with our encoder.
func testEncodeAgain(t *testing.T, v vector, want []byte) {
	t.Helper()
	var buf bytes.Buffer
	w, err := NewWriter(&buf, nil)
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(want, v.dtype.ChunkSize()) {
		d := v.dtype
		if len(part)%d.Width() != 0 { // a layer of several dtypes
			d = Bytes
		}
		if err := w.WriteChunk(encode(t, Default, d, part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(&buf); err != nil || !bytes.Equal(got, want) {
		t.Errorf("encoding again: %d bytes, %v", len(got), err)
	}
}

// features names what a chunk is an example of.
func features(c *Chunk, chunk []byte) (list []string) {
	payload := chunk[HeaderSize:]
	list = append(list, fmt.Sprint("method ", c.Method), fmt.Sprint("dtype ", c.Dtype))
	switch c.Method {
	case RANS:
		list = append(list, fmt.Sprintf("layout %d", payload[0]), fmt.Sprintf("layout %d, top %d", payload[0], payload[1]&15),
			fmt.Sprintf("%d groups", payload[1]>>4), fmt.Sprintf("model %d", payload[3]))
		if payload[3] == modelClasses {
			list = append(list, fmt.Sprintf("%d classes", payload[12]))
		}
	case Fields:
		list = append(list, fmt.Sprintf("%d fields", payload[0]))
		for i := range int(payload[0]) {
			list = append(list, fmt.Sprintf("field of method %d", payload[1+i*fieldHeader+2]))
		}
	case Context:
		list = append(list, fmt.Sprintf("context of layout %d, %d groups, flags %d", payload[0], payload[1], payload[4]))
		for i := range 4 {
			list = append(list, fmt.Sprintf("context plane %d of mode %d", i, payload[2]>>(2*i)&3),
				fmt.Sprintf("context plane %d of mode %d", 4+i, payload[3]>>(2*i)&3))
		}
	case Widened:
		list = append(list, fmt.Sprintf("widened of kind %d", payload[0]), fmt.Sprintf("widened of method %d", payload[1]))
	}
	return list
}

// wanted are the features that vectors must have.
func wanted() (list []string) {
	for m, f := range methods {
		if f == nil {
			continue
		}
		list = append(list, fmt.Sprint("method ", m), fmt.Sprint("corrupt method ", m))
		if m := Method(m); m < Fields || m == Context {
			list = append(list, fmt.Sprint("field of method ", m), fmt.Sprint("widened of method ", m))
		}
	}
	for d := range dtypes {
		list = append(list, fmt.Sprint("dtype ", d))
	}
	for id := layoutBF16; id < layouts; id++ {
		for top := range layoutTable[id].TopLimit() + 1 {
			list = append(list, fmt.Sprintf("layout %d, top %d", id, top))
		}
	}
	for i := range maxClasses {
		list = append(list, fmt.Sprintf("%d classes", i+1))
	}
	for i := range maxFields {
		list = append(list, fmt.Sprintf("%d fields", i+1))
	}
	for id := layoutBF16; id <= layoutE5M2; id++ {
		for i := range 4 {
			list = append(list, fmt.Sprintf("context of layout %d, %d groups, flags %d", id, 1+i%2, i/2))
		}
	}
	for plane := range 8 {
		for mode := range 3 {
			if plane != 3 { // byte plane 2 is of rests that no layout has
				list = append(list, fmt.Sprintf("context plane %d of mode %d", plane, mode))
			}
		}
	}
	for kind := range widenings {
		list = append(list, fmt.Sprint("widened of kind ", kind))
	}
	return append(list, "1 groups", "4 groups", "model 0", "model 1", "model 2")
}

// TestVectorsCover counts what the vectors are about.
func TestVectorsCover(t *testing.T) {
	outcomes, found := map[string]int{}, map[string]bool{}
	for _, v := range readVectors(t) {
		outcomes[v.expect]++
		r, err := NewReader(bytes.NewReader(v.layer))
		if err != nil {
			continue
		}
		for {
			c, err := r.Next()
			if err != nil {
				break
			}
			if r.Decode(make([]byte, c.Decoded)) != nil {
				found[fmt.Sprintf("%s method %d", v.expect, c.Method)] = true
				break
			}
			for _, f := range features(c, r.Encoded()) {
				found[f] = true
			}
		}
	}
	if failures := outcomes["corrupt"] + outcomes["unsupported"] + outcomes["truncated"]; failures < outcomes["success"] {
		t.Errorf("%v: most vectors should fail", outcomes)
	}
	for _, f := range wanted() {
		if !found[f] {
			t.Errorf("no vector of %s", f)
		}
	}
}

// TestVectorsAreGenerated proves that the files are what the generator writes.
func TestVectorsAreGenerated(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the generator")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command:", err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, goTool, "run", "./testdata", dir)
	cmd.Env = append(os.Environ(), "GOOS=", "GOARCH=", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("running the generator: %v\n%s", err, out)
	}
	names := map[string]bool{}
	for _, at := range []string{dir, "testdata/vectors"} {
		entries, err := os.ReadDir(at)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names[e.Name()] = true
		}
	}
	for name := range names {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Errorf("the generator does not write %s", name)
			continue
		}
		if got, err := os.ReadFile(filepath.Join("testdata/vectors", name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the generator writes (run go generate): %v", name, err)
		}
	}
}

// TestFormatExample checks that the layer in FORMAT.md is the vector
// worked-example, byte for byte, with the right offsets.
func TestFormatExample(t *testing.T) {
	doc, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "\n## Example\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, dump, ok := strings.Cut(section, "```\n")
	dump, _, ok2 := strings.Cut(dump, "```\n")
	if !ok || !ok2 {
		t.Fatal("FORMAT.md has no dump in section Example")
	}
	var got []byte
	for line := range strings.Lines(dump) {
		text, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "|")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		if want := fmt.Sprintf("%03x", len(got)); fields[0] != want {
			t.Fatalf("line %q: offset %s, want %s", line, fields[0], want)
		}
		b, err := hex.DecodeString(strings.Join(fields[1:], ""))
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		got = append(got, b...)
	}
	b, err := os.ReadFile("testdata/vectors/worked-example")
	if err != nil {
		t.Fatal(err)
	}
	v, err := parseVector("worked-example", b)
	if err != nil || !bytes.Equal(got, v.layer) {
		t.Fatalf("the dump of %d bytes is not the vector of %d, %v", len(got), len(v.layer), err)
	}
	decoded, err := readAll(bytes.NewReader(got))
	var want []byte
	for i := range 200 {
		want = binary.LittleEndian.AppendUint16(want, uint16(127-i%5)<<7)
	}
	want[200], want[201] = 0, 0
	want = append(want, 7, 7, 7, 7)
	if err != nil || !bytes.Equal(decoded, want) {
		t.Errorf("the example decodes to %x, %v", decoded, err)
	}
}

// TestFirstBytes: tools guess gzip and zstd from the first bytes of a blob.
func TestFirstBytes(t *testing.T) {
	var buf bytes.Buffer
	if _, err := NewWriter(&buf, nil); err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string]string{"gzip": "\x1f\x8b", "zstd": "\x28\xb5\x2f\xfd", "a skippable frame": "\x50\x2a\x4d\x18"} {
		if n := min(2, len(start)); strings.HasPrefix(buf.String(), start[:n]) {
			t.Errorf("a layer starts like %s", name)
		}
	}
	if !strings.HasPrefix(buf.String(), "\x89BSML\r\n\x1a") {
		t.Errorf("a layer starts with %x", buf.Bytes()[:8])
	}
}
