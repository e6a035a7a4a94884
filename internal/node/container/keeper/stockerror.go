package keeper

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// complain adds what the runtime wrote into its log to a failure. p is the process
// that it was to make, if any.
func (b *box) complain(err error, p *specs.Process) error {
	text, rerr := os.ReadFile(filepath.Join(b.dir, "runtime.log"))
	if rerr != nil {
		return err
	}
	var last string
	for line := range bytes.Lines(text) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal(line, &entry) == nil && entry.Level == "error" {
			last = entry.Msg
		}
	}
	if last == "" {
		return err
	}
	answer := wire.Errorf(wire.Invalid, "%v: %s", err, last)
	if errno := notExecuted(last); errno != 0 && p != nil && len(p.Args) > 0 {
		answer.Step, answer.Path, answer.Errno = "exec", p.Args[0], int(errno)
	}
	return answer
}

// notExecuted tells from a runtime's words why a container's program could not be
// executed; 0 if it says something else. They come last, but for crun's of a file
// that it could not open.
func notExecuted(text string) unix.Errno {
	runc := strings.Contains(text, "exec: \"")
	crun := strings.HasPrefix(text, "executable file") || strings.HasPrefix(text, "open executable") || strings.HasPrefix(text, "exec ")
	if !runc && !crun {
		return 0
	}
	for words, errno := range map[string]unix.Errno{
		"no such file or directory": unix.ENOENT, "not found in $path": unix.ENOENT,
		"permission denied": unix.EACCES, "is a directory": unix.EACCES, "exec format error": unix.ENOEXEC,
	} {
		if strings.HasSuffix(strings.ToLower(text), words) {
			return errno
		}
	}
	return 0
}
