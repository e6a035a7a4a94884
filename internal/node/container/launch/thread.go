package launch

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// aside calls f on a thread that ends afterwards, so that f may change the
// thread's mount namespace and directories.
func aside(f func() (int, error)) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread never ends, and /proc/self is what it is. Keep it
			// busy so that the work goes to another.
			n, err := aside(f)
			runtime.UnlockOSThread()
			done <- result{n, err}
			return
		}
		n, err := f()
		done <- result{n, err} // never unlocked: the thread ends with the goroutine
	}()
	r := <-done
	return r.n, r.err
}
