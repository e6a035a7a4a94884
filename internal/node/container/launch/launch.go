package launch

import (
	"fmt"
	"os"
	"runtime"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Request is a container to start. Start closes none of its files.
type Request struct {
	ID           string
	Spec         *specs.Spec // process, mounts, namespaces (those with a Path are joined), linux
	Root         Rootfs
	Seccomp      Seccomp
	Cgroups      []*os.File    // cgroup v1 `tasks` files open for writing, and at most one cgroup v2 directory
	CgroupMounts []CgroupMount // what a mount of type cgroup shows
	Stdin        *os.File      // the container's ends; nil is /dev/null
	Stdout       *os.File
	Stderr       *os.File
	Terminal     bool // make a terminal from the container's own devpts, in place of the three

	// Private says that the child needs no descriptor from this number on: a
	// caller that keeps many is faster when they are there. Zero says nothing.
	Private int
}

// Seccomp is a compiled filter. An empty program installs none.
type Seccomp struct {
	Program []unix.SockFilter
	Flags   uint // SECCOMP_FILTER_FLAG_*
}

// CgroupMount is a cgroup directory of the host that the container sees read-only.
type CgroupMount struct {
	Name   string // directory below the mount, such as "memory"; empty for cgroup v2, which is the mount itself
	Source string // the container's own cgroup on the host
}

// Process is a started process. The caller owns PIDFD and Master.
type Process struct {
	PID    int // in the host's namespace
	PIDFD  *os.File
	Master *os.File // of the terminal; nil without one
}

// Start runs a container up to the execve of its process. It returns once that
// has happened. An error wraps a *StepError that names the system call which
// failed, and nothing of the container is left.
func Start(req Request) (*Process, error) {
	defer runtime.KeepAlive(&req) // the table knows the files by number only
	p, err := start(req)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", req.ID, err)
	}
	return p, nil
}

func start(req Request) (*Process, error) {
	if err := check(req.Spec); err != nil {
		return nil, err
	}
	l, err := newLauncher(tableSize(req.Spec), req.Spec.Process)
	if err != nil {
		return nil, err
	}
	defer l.close()
	return l.start(req)
}

// check refuses what this package cannot do, rather than leave it out.
func check(spec *specs.Spec) error {
	switch {
	case spec == nil || spec.Process == nil || len(spec.Process.Args) == 0:
		return fmt.Errorf("no process to run: %w", fault.Invalid)
	case spec.Linux == nil:
		return fmt.Errorf("no linux section: %w", fault.Invalid)
	case spec.Process.Cwd != "" && spec.Process.Cwd[0] != '/':
		return fmt.Errorf("working directory %q is not absolute: %w", spec.Process.Cwd, fault.Invalid)
	}
	if err := checkScheduling(spec.Process); err != nil {
		return err
	}
	return refuse(Lacks(spec))
}

// tableSize is how many entries a specification may need at most.
func tableSize(s *specs.Spec) int {
	n := 512
	for _, m := range s.Mounts {
		n += 16 + 3*len(m.Destination)/2
	}
	l := s.Linux
	return n + 32*len(l.Devices) + 4*(len(l.MaskedPaths)+len(l.ReadonlyPaths)+len(l.Sysctl)) + 3*len(s.Process.Cwd)
}

// launcher holds what one start has opened, and the table it fills.
type launcher struct {
	*table
	bare   *os.File // the template
	full   *os.File // the one for user namespaces
	proc   *os.File // the host's /proc
	opened []int    // closed when the start is over
	users  *userns  // nil in the host's user namespace
	ns     namespaces
	limits []limited
	dir    string            // where the child is, while devices are made
	early  map[string]*entry // mounts made before the template goes, by destination
	leave  *entry            // the step that leaves descriptors behind
	inner  *cloneArgs        // of the clone3 in the table, if there is one
}

func newLauncher(entries int, process *specs.Process) (*launcher, error) {
	bare, full, proc, err := shared.open()
	if err != nil {
		return nil, err
	}
	data := entries*48 + 64<<10
	for _, list := range [][]string{process.Args, process.Env} {
		for _, s := range list {
			data += len(s) + 24
		}
	}
	t, err := newTable(entries, data)
	if err != nil {
		return nil, err
	}
	return &launcher{table: t, bare: bare, full: full, proc: proc}, nil
}

func (l *launcher) close() {
	l.table.close()
	for _, fd := range l.opened {
		_ = unix.Close(fd)
	}
	if l.users != nil {
		l.users.close()
	}
}

// own leaves a descriptor open until the start is over.
func (l *launcher) own(fd int) uintptr {
	l.opened = append(l.opened, fd)
	return uintptr(fd)
}

// start opens what lies on the host, writes the table and runs it.
func (l *launcher) start(req Request) (*Process, error) {
	if err := l.openNamespaces(req.Spec); err != nil {
		return nil, err
	}
	if err := l.checkSysctls(req.Spec); err != nil {
		return nil, err
	}
	root, err := req.Root.mount(l.users)
	if err != nil {
		return nil, err
	}
	l.own(root)
	stdio, master, err := l.stdio(req.Terminal, req.Spec, req.Stdin, req.Stdout, req.Stderr)
	if err != nil {
		return nil, err
	}
	args, nested, err := l.write(req, root, stdio)
	var p *Process
	if err == nil {
		p, err = l.run(args, nested)
	}
	if err != nil {
		if master != nil {
			_ = master.Close()
		}
		return nil, err
	}
	p.Master = master
	return p, nil
}

// write fills the table in the order in which the child needs it: what takes the
// host's privileges, namespaces, filesystem, then what takes rights away.
func (l *launcher) write(req Request, root int, stdio *stdio) (args cloneArgs, nested *int32, err error) {
	spec := req.Spec
	if !l.nests() {
		l.leaveBehind()
	}
	if args, err = l.joinCgroups(req.Cgroups); err != nil {
		return args, nil, err
	}
	if err := l.privileged(spec.Process); err != nil {
		return args, nil, err
	}
	nested = l.enterNamespaces(&args)
	l.mountEarly(spec.Mounts)
	l.changeRoot(root, spec)
	if err := l.filesystem(req, stdio); err != nil {
		return args, nil, err
	}
	l.identify(spec)
	l.personality(spec.Linux.Personality)
	if err := l.become(spec.Process, stdio, req.Seccomp, root); err != nil {
		return args, nil, err
	}
	l.share(req, &args)
	return args, nested, nil
}
