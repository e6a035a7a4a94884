package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// smallFile is the largest file that is handed to another goroutine. Most
	// files are far smaller, and their cost is the system calls around them.
	smallFile   = 256 << 10
	fileWriters = 4
	filesAhead  = 32
)

// files writes regular files, small ones in the background.
type files struct {
	jobs    chan fileJob
	free    chan []byte
	writers sync.WaitGroup
	pending sync.WaitGroup

	mu  sync.Mutex
	err error // the first
}

// A fileJob is one small file to write.
type fileJob struct {
	at   *handle
	name string
	hdr  *tar.Header
	data []byte // from files.free
}

func startFiles() *files {
	f := &files{jobs: make(chan fileJob, filesAhead), free: make(chan []byte, filesAhead+fileWriters)}
	for range cap(f.free) {
		f.free <- nil // made when it is first needed
	}
	f.writers.Add(fileWriters)
	for range fileWriters {
		go func() {
			defer f.writers.Done()
			for job := range f.jobs {
				f.run(job)
			}
		}()
	}
	return f
}

func (f *files) run(job fileJob) {
	defer f.pending.Done()
	defer job.at.release()
	if !f.failed() {
		if err := writeFile(job.at, job.name, job.hdr, job.data); err != nil {
			f.fail(fmt.Errorf("entry %q: %w", job.hdr.Name, err))
		}
	}
	f.free <- job.data
}

// write makes a file with the content of r, now or soon.
func (f *files) write(at *handle, name string, hdr *tar.Header, r io.Reader) error {
	if hdr.Size > smallFile {
		return streamFile(at, name, hdr, r)
	}
	data := <-f.free
	if data == nil {
		data = make([]byte, smallFile)
	}
	data = data[:hdr.Size]
	if _, err := io.ReadFull(r, data); err != nil {
		f.free <- data
		return truncated(err)
	}
	at.refs.Add(1)
	f.pending.Add(1)
	f.jobs <- fileJob{at: at, name: name, hdr: hdr, data: data}
	return nil
}

// settle waits until everything handed over is written.
func (f *files) settle() error {
	f.pending.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// stop ends the writing and returns what went wrong with it.
func (f *files) stop() error {
	close(f.jobs)
	f.writers.Wait()
	return f.err
}

func (f *files) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *files) failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err != nil
}

func createFile(at *handle, name string) (*os.File, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(at.fd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return nil, fmt.Errorf("make file: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// writeFile makes a small file by system calls alone: thousands of them are what
// unpacking costs.
func writeFile(at *handle, name string, hdr *tar.Header, data []byte) (err error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(at.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return fmt.Errorf("make file: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	for len(data) > 0 {
		n, err := retry(func() (int, error) { return unix.Write(fd, data) })
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		data = data[n:]
	}
	return finishFile(fd, at, name, hdr)
}

func streamFile(at *handle, name string, hdr *tar.Header, r io.Reader) (err error) {
	f, err := createFile(at, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(struct{ io.Writer }{f}, r); err != nil {
		return truncated(err)
	}
	return finishFile(int(f.Fd()), at, name, hdr)
}

func finishFile(fd int, at *handle, name string, hdr *tar.Header) error {
	if err := setMetaFD(fd, hdr); err != nil {
		return err
	}
	if err := timesOf(hdr).set(at.fd, name); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}
