package image

import (
	"bufio"
	"bytes"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// What compressed data begins with.
var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// decompress reads r, whether gzip, zstd or plain. It goes by the content, for
// media types are often wrong.
func decompress(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 1<<20)
	magic, err := buffered.Peek(len(zstdMagic))
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w: %w", err, fault.Corrupt)
		}
		return z, nil
	case bytes.HasPrefix(magic, zstdMagic):
		z, err := zstd.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("zstd: %w: %w", err, fault.Corrupt)
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(buffered), nil
}

// compression names the format of data that begins so; empty is plain.
func compression(magic []byte) string {
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		return "gzip"
	case bytes.HasPrefix(magic, zstdMagic):
		return "zstd"
	}
	return ""
}

// hashed reads ahead from a reader and hashes what it reads, so that reading,
// hashing and the use of the data run on three cores.
type hashed struct {
	chunks chan *chunk // to Read
	stop   chan struct{}
	done   sync.WaitGroup
	hash   hash.Hash
	err    error // of the source, set before chunks is closed

	now  *chunk // what Read is in
	rest []byte // of now
}

// A chunk goes to the hash and to the reader; who is through with it last gives
// it back.
type chunk struct {
	data []byte
	left sync.WaitGroup
}

const (
	chunkSize  = 512 << 10
	chunkAhead = 8
)

func newHashed(r io.Reader) *hashed {
	h := &hashed{chunks: make(chan *chunk, chunkAhead), stop: make(chan struct{}), hash: digest.SHA256.Hash()}
	toHash := make(chan *chunk, chunkAhead)
	free := make(chan *chunk, chunkAhead+4)
	for range cap(free) {
		free <- &chunk{data: make([]byte, 0, chunkSize)}
	}
	h.done.Add(2)
	go func() {
		defer h.done.Done()
		for c := range toHash {
			h.hash.Write(c.data)
			c.left.Done()
		}
	}()
	go func() {
		defer h.done.Done()
		defer close(toHash)
		defer close(h.chunks)
		h.err = h.pump(r, free, toHash)
	}()
	return h
}

// pump reads until the source ends or stop.
func (h *hashed) pump(r io.Reader, free chan *chunk, toHash chan<- *chunk) error {
	for {
		var c *chunk
		select {
		case c = <-free:
		case <-h.stop:
			return io.ErrClosedPipe
		}
		c.left.Wait() // the previous use
		n, err := io.ReadFull(r, c.data[:chunkSize])
		c.data = c.data[:n]
		if n > 0 {
			c.left.Add(2)
			toHash <- c
			select {
			case h.chunks <- c:
			case <-h.stop:
				return io.ErrClosedPipe
			}
			free <- c // it waits there for both uses to end
		}
		if err == io.ErrUnexpectedEOF {
			err = io.EOF
		}
		if err != nil {
			return err
		}
	}
}

func (h *hashed) Read(p []byte) (int, error) {
	for len(h.rest) == 0 {
		if h.now != nil {
			h.now.left.Done()
			h.now = nil
		}
		c, ok := <-h.chunks
		if !ok {
			return 0, h.err
		}
		h.now, h.rest = c, c.data
	}
	n := copy(p, h.rest)
	h.rest = h.rest[n:]
	return n, nil
}

// sum reads what is left and returns the digest of everything.
func (h *hashed) sum() (digest.Digest, error) {
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{h}); err != nil {
		return "", err
	}
	h.done.Wait()
	return digest.NewDigest(digest.SHA256, h.hash), nil
}

// close ends the reading ahead and waits for it.
func (h *hashed) close() {
	close(h.stop)
	if h.now != nil {
		h.now.left.Done()
		h.now = nil
	}
	for c := range h.chunks {
		c.left.Done()
	}
	h.done.Wait()
}
