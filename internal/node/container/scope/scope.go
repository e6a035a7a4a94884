// Package scope has systemd keep cgroups for pods, on machines where it is init
// and is to know of them.
//
// systemd owns the tree of cgroups there and hands parts of it on: of a scope
// with Delegate= it touches nothing below. Each pod has one, in the slice that the
// kubelet has made for the pod; what is in it (a cgroup for each container, with
// its limits) is made as on any other machine, exactly and without asking
// systemd again. A daemon-reload does not undo it.
//
// A scope lasts as long as it has a process. A pod may have none, before its
// first container and between two, and systemd would remove the cgroup of one that
// was killed for memory before anybody has read so. Therefore each scope has one
// process of ours that does nothing, in a cgroup of its own below it: version 2
// wants the processes of a group that has limits below it to be in those.
package scope

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// booted is there where systemd is init, as sd_booted(3) says.
const booted = "/run/systemd/system"

// jobTime bounds how long systemd may take to start or stop a unit.
const jobTime = 30 * time.Second

// Groups are the machine's cgroups. *cgroup.Manager is the real one.
type Groups interface {
	// Has tells whether a group is there.
	Has(name string) bool
	// Settle moves a process into a group, which is made where it is missing.
	Settle(ctx context.Context, name string, pid int) error
	// Remove removes a group and those below it. Repeating it is not an error.
	Remove(ctx context.Context, name string) error
}

// Manager makes scopes and slices. It is safe for use by many goroutines at once.
type Manager struct {
	groups Groups

	mu   sync.Mutex
	conn *systemd.Conn // nil until it is needed, and after systemd has hung up
}

// Open connects to systemd. Where that is not init it fails and says so.
func Open(groups Groups) (*Manager, error) {
	if _, err := os.Stat(booted); err != nil {
		return nil, fmt.Errorf("systemd is not this machine's init (no %s): %w", booted, fault.Precondition)
	}
	m := &Manager{groups: groups}
	if _, err := m.bus(); err != nil {
		return nil, err
	}
	return m, nil
}

// Close hangs up. Scopes stay.
func (m *Manager) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil {
		m.conn.Close()
	}
	return nil
}

// bus returns a connection to systemd. It ends when systemd executes itself anew.
func (m *Manager) bus() (*systemd.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil && m.conn.Connected() {
		return m.conn, nil
	}
	if m.conn != nil {
		m.conn.Close()
		m.conn = nil
	}
	conn, err := systemd.NewWithContext(context.Background()) // it would end with the context
	if err != nil {
		return nil, fmt.Errorf("connect to systemd: %w: %w", fault.Unavailable, err)
	}
	m.conn = conn
	return conn, nil
}

// Slice makes the slice of a cgroup's path, for others to be in, and returns its
// own path: of "/sampan" that is /sampan.slice. It may be there already.
func (m *Manager) Slice(ctx context.Context, group string) (string, error) {
	name := sliceName(group)
	path, err := slicePath(name)
	if err != nil {
		return "", err
	}
	err = m.job(ctx, func(ctx context.Context, c *systemd.Conn, done chan<- string) error {
		_, err := c.StartTransientUnitContext(ctx, name, "replace", append(accounting(), systemd.PropDescription("Sampan's containers")), done)
		return err
	})
	if err != nil && !isError(err, "UnitExists") {
		return "", fmt.Errorf("slice %s: %w", name, err)
	}
	return path, nil
}

// RemoveSlice ends the slice of a cgroup's path with everything in it.
func (m *Manager) RemoveSlice(ctx context.Context, group string) error {
	name := sliceName(group)
	path, err := slicePath(name)
	if err == nil {
		err = m.stop(ctx, name)
	}
	if err == nil {
		err = m.groups.Remove(ctx, path)
	}
	if err != nil {
		return fmt.Errorf("slice %s: %w", name, err)
	}
	return nil
}

// Hold makes a scope for a pod in the slice that parent names, and returns its
// cgroup's path. What is in it is nothing of systemd's. It may be repeated.
func (m *Manager) Hold(ctx context.Context, parent, pod string) (string, error) {
	name := scopeName(pod)
	path, err := scopePath(parent, name)
	if err != nil {
		return "", err
	}
	if m.groups.Has(path + "/" + place) {
		return path, nil // systemd has removed it if the place's process is gone, and all others
	}
	pid, err := startPlace()
	if err != nil {
		return "", fmt.Errorf("scope %s: %w", name, err)
	}
	err = m.Move(ctx, parent, pod, pid)
	if err == nil {
		err = m.groups.Settle(ctx, path+"/"+place, pid)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("scope %s: %w", name, err), endPlace(pid))
	}
	return path, nil
}

// Move puts a process into a scope, in the slice that parent names. It joins
// others that are there already, whom nothing happens: what holds the descriptors
// of a killed keeper, or containers of which the place was lost.
func (m *Manager) Move(ctx context.Context, parent, what string, pid int) error {
	name := scopeName(what)
	path, err := scopePath(parent, name)
	if err != nil {
		return err
	}
	properties := append(accounting(),
		systemd.PropDescription("Containers of Sampan"),
		systemd.PropSlice(sliceOf(parent)),
		property("Delegate", true),
		property("PIDs", []uint32{uint32(pid)}),
		// Nothing of the system's that a shutdown would have to wait for.
		property("DefaultDependencies", false),
		// One that has failed is forgotten, so that its name is free.
		property("CollectMode", "inactive-or-failed"),
		property("TasksMax", uint64(math.MaxUint64)),
		property("TimeoutStopUSec", uint64(5*time.Second/time.Microsecond)),
	)
	for range 20 {
		err = m.job(ctx, func(ctx context.Context, c *systemd.Conn, done chan<- string) error {
			_, err := c.StartTransientUnitContext(ctx, name, "fail", properties, done)
			return err
		})
		if !isError(err, "UnitExists") {
			break
		}
		if m.ask(ctx, name, "Unit", "ActiveState") == "active" {
			err = m.groups.Settle(ctx, path, pid)
			break
		}
		time.Sleep(50 * time.Millisecond) // it is just ending
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return nil
}

// Release ends a pod's scope with all that is in it, and removes its cgroups, also
// those in hierarchies that systemd does not manage. Without the path, as after a
// crash, systemd is asked for it. Repeating it is not an error.
func (m *Manager) Release(ctx context.Context, pod, path string) error {
	name := scopeName(pod)
	if path == "" {
		path = m.ask(ctx, name, "Scope", "ControlGroup")
	}
	if err := m.stop(ctx, name); err != nil {
		return fmt.Errorf("scope %s: %w", name, err)
	}
	if path == "" {
		return nil
	}
	return m.groups.Remove(ctx, path)
}

// ask returns a property of a unit; "" if there is none.
func (m *Manager) ask(ctx context.Context, unit, kind, name string) string {
	conn, err := m.bus()
	if err != nil {
		return ""
	}
	p, err := conn.GetUnitTypePropertyContext(ctx, unit, kind, name)
	if err != nil {
		return ""
	}
	text, _ := p.Value.Value().(string)
	return text
}

// stop stops a unit; one that is not there is stopped.
func (m *Manager) stop(ctx context.Context, name string) error {
	err := m.job(ctx, func(ctx context.Context, c *systemd.Conn, done chan<- string) error {
		_, err := c.StopUnitContext(ctx, name, "replace", done)
		return err
	})
	if err != nil && !isError(err, "NoSuchUnit") {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	return nil
}

// job begins a job and waits for its end.
func (m *Manager) job(ctx context.Context, begin func(context.Context, *systemd.Conn, chan<- string) error) error {
	ctx, cancel := context.WithTimeout(ctx, jobTime)
	defer cancel()
	conn, err := m.bus()
	if err != nil {
		return err
	}
	done := make(chan string, 1)
	if err := begin(ctx, conn, done); err != nil {
		return err
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("systemd's job ended with %q: %w", result, fault.Unavailable)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("systemd does not answer: %w", ctx.Err())
	}
}

// accounting has the kernel count for a unit from its beginning.
func accounting() []systemd.Property {
	return []systemd.Property{
		property("CPUAccounting", true), property("MemoryAccounting", true),
		property("IOAccounting", true), property("TasksAccounting", true),
	}
}

func property(name string, value any) systemd.Property {
	return systemd.Property{Name: name, Value: dbus.MakeVariant(value)}
}

// isError tells whether systemd answered with one of its own errors.
func isError(err error, name string) bool {
	var answer dbus.Error
	return errors.As(err, &answer) && strings.HasSuffix(answer.Name, "."+name)
}
