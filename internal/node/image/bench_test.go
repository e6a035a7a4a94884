package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/test/need"
)

// bigLayer is a tar of about 300 MB that looks like a system's: 12,000 files, most
// of them small, that compress to two fifths.
func bigLayer(b *testing.B) []byte {
	b.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	words := make([]byte, 1<<20)
	for i := range words {
		words[i] = byte('a' + r.ExpFloat64()*4)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	content := make([]byte, 4<<20)
	for i := range 12000 {
		if i%40 == 0 {
			w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprintf("usr/lib/d%d/", i/40), Mode: 0o755})
		}
		size := int(r.ExpFloat64() * 8000)
		if i%100 == 0 {
			size = 1 << 20 * (1 + r.IntN(3))
		}
		for at := 0; at < size; {
			from := r.IntN(len(words) - 200)
			at += copy(content[at:size], words[from:from+20+r.IntN(60)])
		}
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("usr/lib/d%d/file%d", i/40, i), Mode: 0o644, Size: int64(size)})
		w.Write(content[:size])
	}
	w.Close()
	return buf.Bytes()
}

func BenchmarkUnpack(b *testing.B) {
	need.Root(b) // owners
	data := bigLayer(b)
	diff := digest.FromBytes(data)
	var zipped bytes.Buffer
	z, _ := gzip.NewWriterLevel(&zipped, 6)
	z.Write(data)
	z.Close()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	for _, c := range []struct {
		name string
		blob []byte
	}{{"plain", data}, {"gzip", zipped.Bytes()}, {"zstd", e.EncodeAll(data, nil)}} {
		s, err := Open(Config{Root: b.TempDir()}, nil)
		if err != nil {
			b.Fatal(err)
		}
		d := digest.FromBytes(c.blob)
		if err := s.blobs.put(c.blob, ocispec.Descriptor{Digest: d}); err != nil {
			b.Fatal(err)
		}
		b.Run(c.name+"/decompress", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				plain, err := decompress(bytes.NewReader(c.blob))
				if err != nil {
					b.Fatal(err)
				}
				h := newHashed(plain)
				if _, err := h.sum(); err != nil {
					b.Fatal(err)
				}
				h.close()
				plain.Close()
			}
		})
		b.Run(c.name+"/unpack", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportMetric(float64(len(c.blob))/1e6, "MB-blob")
			for b.Loop() {
				b.StopTimer()
				dir := b.TempDir()
				b.StartTimer()
				err := s.Unpack(b.Context(), Layer{Descriptor: ocispec.Descriptor{Digest: d}, DiffID: diff}, dir, nil)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer() // its pages must not be written while the next is measured
				os.RemoveAll(dir)
				b.StartTimer()
			}
		})
		s.Close()
	}
}
