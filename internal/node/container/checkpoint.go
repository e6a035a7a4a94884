package container

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container/criu"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// What Checkpoint puts into its directory.
const (
	CheckpointImages = "checkpoint" // CRIU's images
	CheckpointUpper  = "upper.tar"  // what the container has written, in overlay's own form
	copyLog          = "copy.log"
)

// freezeTime is how long stopping a container's processes may take where the
// caller does not say.
const freezeTime = 10 * time.Second

// Checkpoint writes the processes of a container that Start was given as spec,
// and its writable layer as it was at that moment, into a directory. The
// container goes on. What cannot be written down is fault.Precondition with the
// reason. also are more directories to copy at that moment, by the name of the tar
// that each becomes.
//
// It returns only when nothing acts on the container any more, also after ctx
// has ended: a CRIU that is killed may take the container along. The directory is
// in use until then.
func (r *Runtime) Checkpoint(ctx context.Context, spec Spec, dir string, also map[string]string) error {
	if err := r.checkpoint(ctx, spec, dir, also); err != nil {
		return fmt.Errorf("checkpoint container %s: %w", spec.ID, err)
	}
	return nil
}

func (r *Runtime) checkpoint(ctx context.Context, spec Spec, dir string, also map[string]string) error {
	if err := restorable(spec); err != nil {
		return err
	}
	u, err := r.running(spec.ID)
	if err != nil {
		return err
	}
	program, err := criu.Find(ctx, r.cfg.CRIU)
	if err != nil {
		return err
	}
	images := filepath.Join(dir, CheckpointImages)
	if err := os.Mkdir(images, 0o700); err != nil {
		return err
	}
	u.mu.Lock()
	pid := u.status.PID
	u.mu.Unlock()
	external, err := outside(pid, spec.OCI)
	if err != nil {
		return err
	}
	req := wire.Checkpoint{ID: spec.ID, Binary: program.Path, Images: images, External: external, Freeze: freezeTime}
	if end, ok := ctx.Deadline(); ok {
		req.Freeze = min(req.Freeze, time.Until(end))
	}
	if copies := copyAll(spec.Root, dir, also); len(copies) > 0 {
		req.Frozen = filepath.Join(dir, "frozen.sh")
		if err := criu.WhileFrozen(req.Frozen, strings.Join(copies, " && ")); err != nil {
			return err
		}
	}
	_, err = r.call(context.WithoutCancel(ctx), false, wire.CallCheckpoint, req, nil, nil)
	if said, rerr := os.ReadFile(filepath.Join(dir, copyLog)); err != nil && rerr == nil && len(said) > 0 {
		err = fmt.Errorf("%w: copy of its files: %s", err, strings.TrimSpace(string(said)))
	}
	return err
}

// restorable refuses what nobody could restore, or only in a way that would
// surprise, before a process is stopped for it.
func restorable(spec Spec) error {
	refuse := func(why string) error { return fmt.Errorf("%s: %w", why, fault.Precondition) }
	if spec.Runtime != "" {
		return refuse("it runs under " + spec.Runtime + "; only the native runtime's can be checkpointed")
	}
	if spec.OCI.Process.Terminal {
		return refuse("it has a terminal, whose other end stays here")
	}
	for _, m := range spec.OCI.Mounts {
		if slices.Contains(m.Options, "rshared") || slices.Contains(m.Options, "shared") {
			return refuse("what it mounts below " + m.Destination + " shows on the host, which a restore cannot bring back")
		}
	}
	kinds := map[specs.LinuxNamespaceType]string{}
	for _, ns := range spec.OCI.Linux.Namespaces {
		kinds[ns.Type] = ns.Path
	}
	pids, own := kinds[specs.PIDNamespace]
	_, ipc := kinds[specs.IPCNamespace]
	_, users := kinds[specs.UserNamespace]
	switch {
	case !own:
		return refuse("it sees the host's processes, whose numbers it could not get again")
	case pids != "":
		return refuse("it shares a process namespace with others, who may have its processes' numbers at a restore")
	case !ipc:
		return refuse("it shares the host's IPC namespace")
	case users:
		return refuse("it has a user namespace, which CRIU cannot restore over layers mapped into it")
	}
	return nil
}

// outside tells what a running container has of the host's, input and outputs
// excepted.
func outside(pid int, spec *specs.Spec) ([]string, error) {
	external, err := criu.Outside(pid, spec)
	if err != nil {
		return nil, err
	}
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type != specs.NetworkNamespace {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &st); err != nil {
			return nil, fmt.Errorf("network namespace of process %d: %w", pid, err)
		}
		external = append(external, fmt.Sprintf("net[%d]:%s", st.Ino, criu.NetworkKey))
	}
	return external, nil
}

// copyAll are the commands that copy the writable layer and more: by tar, which
// CRIU needs too, and run by CRIU while the processes stand still. Were it ours to
// do, our death would leave them standing.
func copyAll(root Rootfs, dir string, also map[string]string) []string {
	from := maps.Clone(also)
	if root.Upper != "" {
		if from == nil {
			from = map[string]string{}
		}
		from[CheckpointUpper] = root.Upper
		if !filepath.IsAbs(root.Upper) {
			from[CheckpointUpper] = filepath.Join(root.Base, root.Upper)
		}
	}
	var commands []string
	for _, name := range slices.Sorted(maps.Keys(from)) {
		commands = append(commands, fmt.Sprintf(
			"tar --create --file %s --directory %s --sparse --numeric-owner --xattrs --xattrs-include='*' --warning=no-file-ignored . 2>>%s",
			quote(filepath.Join(dir, name)), quote(from[name]), quote(filepath.Join(dir, copyLog))))
	}
	return commands
}

// quote makes a word of the shell's.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
