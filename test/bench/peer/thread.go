package peer

import (
	"os/exec"
	"runtime"
	"sync"
)

// thread is one of this process's threads that stands in other namespaces.
// Commands that it starts are there too, without a helper program that would
// add to what is measured.
type thread struct {
	starts chan func()
	gone   sync.WaitGroup
}

// newThread starts a thread that enters by calling enter.
func newThread(enter func() error) (*thread, error) {
	t := &thread{starts: make(chan func())}
	entered := make(chan error)
	t.gone.Go(func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := enter()
		entered <- err
		if err != nil {
			return
		}
		for f := range t.starts {
			f()
		}
	})
	return t, <-entered
}

// start starts cmd from the thread.
func (t *thread) start(cmd *exec.Cmd) error {
	var err error
	t.do(func() { err = cmd.Start() })
	return err
}

// do calls f on the thread.
func (t *thread) do(f func()) {
	done := make(chan struct{})
	t.starts <- func() { f(); close(done) }
	<-done
}

// end ends the thread.
func (t *thread) end() {
	close(t.starts)
	t.gone.Wait()
}
