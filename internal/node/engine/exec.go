package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/engine/internal/users"
)

// ExecConfig is one more process in a running container. What is empty is as
// for the container's first process.
type ExecConfig struct {
	Args       []string
	Env        []string
	Dir        string
	User       string // name or number of the image, may have :group
	TTY        bool
	Privileged bool
}

// Exec runs a process in a running container and returns its exit code. It has
// the rights of the container's first process.
func (e *Engine) Exec(ctx context.Context, owner, id string, cfg ExecConfig, io container.Stdio) (int, error) {
	c, err := e.findContainer(owner, id)
	if err != nil {
		return 0, err
	}
	rec := c.get()
	if rec.State != Running {
		return 0, fmt.Errorf("exec in container %s: it is %s: %w", rec.ID, rec.State, fault.Precondition)
	}
	if len(cfg.Args) == 0 || cfg.Args[0] == "" {
		return 0, fmt.Errorf("exec in container %s: cmd is empty: %w", rec.ID, fault.Invalid)
	}
	spec, err := e.records.loadSpec(&rec)
	if err != nil {
		return 0, fmt.Errorf("exec in container %s: %w", rec.ID, err)
	}
	p := execProcess(spec.OCI.Process, &cfg)
	if cfg.User != "" {
		if p.User, err = execUser(spec.Root, cfg.User); err != nil {
			return 0, fmt.Errorf("exec in container %s: user: %w", rec.ID, err)
		}
	}
	if cfg.Privileged {
		p.Capabilities = &specs.LinuxCapabilities{Bounding: e.machine.caps, Effective: e.machine.caps, Permitted: e.machine.caps}
	}
	code, err := e.parts.Runtime.Exec(ctx, rec.ID, p, io)
	if err != nil {
		return 0, fmt.Errorf("exec in container %s: %w", rec.ID, err)
	}
	return code, nil
}

// execUser finds a user in the container's own files as they are now.
func execUser(root container.Rootfs, who string) (specs.User, error) {
	u, err := users.Find(layersOf(root), who)
	if err != nil {
		return specs.User{}, err
	}
	return specs.User{UID: u.UID, GID: u.GID, AdditionalGids: appendNew([]uint32{u.GID}, u.Groups...)}, nil
}

func execProcess(first *specs.Process, cfg *ExecConfig) *specs.Process {
	p := *first
	p.Args, p.Terminal, p.ConsoleSize = cfg.Args, cfg.TTY, nil
	if cfg.Dir != "" {
		p.Cwd = cfg.Dir
	}
	env := newEnvironment(slices.Clone(first.Env)...)
	if cfg.TTY {
		env.set("TERM=xterm")
	}
	for _, kv := range cfg.Env {
		env.set(kv)
	}
	p.Env = env.list
	return &p
}

// Attach connects to a running container's own input and output until it ends.
func (e *Engine) Attach(ctx context.Context, owner, id string, io container.Stdio) error {
	c, err := e.findContainer(owner, id)
	if err != nil {
		return err
	}
	rec := c.get()
	if rec.State != Running {
		return fmt.Errorf("attach to container %s: it is %s: %w", rec.ID, rec.State, fault.Precondition)
	}
	if err := e.parts.Runtime.Attach(ctx, rec.ID, io); err != nil {
		return fmt.Errorf("attach to container %s: %w", rec.ID, err)
	}
	return nil
}

// ReopenLog makes a running container write to a new log file, after somebody
// has moved the old one away.
func (e *Engine) ReopenLog(ctx context.Context, owner, id string) error {
	c, err := e.findContainer(owner, id)
	if err != nil {
		return err
	}
	rec := c.get()
	if rec.State != Running {
		return fmt.Errorf("reopen log of container %s: it is %s: %w", rec.ID, rec.State, fault.Precondition)
	}
	if err := e.parts.Runtime.ReopenLog(ctx, rec.ID); err != nil {
		return fmt.Errorf("reopen log of container %s: %w", rec.ID, err)
	}
	return nil
}
