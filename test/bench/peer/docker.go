package peer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Docker is Debian's dockerd, with the containerd that it starts for itself.
type Docker struct {
	room   *Room
	client string
	host   string
	undo   closers
}

// NewDocker starts dockerd in room number n and loads the image.
func NewDocker(ctx context.Context, dir string, n int, im Image) (_ *Docker, err error) {
	d := &Docker{}
	defer func() {
		if err != nil {
			d.undo.close()
		}
	}()
	server, err := program("dockerd")
	if err != nil {
		return nil, err
	}
	if d.client, err = program("docker"); err != nil {
		return nil, err
	}
	if d.room, err = NewRoom(dir, "docker", n); err != nil {
		return nil, err
	}
	d.undo.add(d.room.Close)
	d.undo.add(cgroups("docker"))
	d.host = "unix://" + filepath.Join(d.room.Run, "docker.sock")
	config := filepath.Join(d.room.Dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}\n"), 0o644); err != nil { // not the machine's own
		return nil, err
	}
	process, err := d.room.daemon(ctx, nil, func(ctx context.Context) error {
		_, err := d.run(ctx, "version")
		return err
	}, server, "--config-file", config, "--host", d.host,
		"--data-root", filepath.Join(d.room.Dir, "data"), "--exec-root", filepath.Join(d.room.Run, "exec"),
		"--pidfile", filepath.Join(d.room.Run, "dockerd.pid"), "--storage-driver", "overlay2",
		"--oom-score-adjust", "0", // lowering takes a capability that the machine may lack
		"--userland-proxy=false", "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	d.undo.add(func() error { process.stop(); return nil })
	_, err = d.run(ctx, "load", "-q", "-i", im.Archive)
	return d, err
}

func (d *Docker) run(ctx context.Context, args ...string) (string, error) {
	return d.room.Exec(ctx, []string{"DOCKER_HOST=" + d.host}, d.client, args...)
}

// OneOff is `docker run --rm` of a program that ends at once.
func (d *Docker) OneOff(ctx context.Context, network string) error {
	_, err := d.run(ctx, "run", "--rm", "--network", network, Ref, "exit")
	return err
}

// Detached starts a container that stays, and returns a function that removes it.
func (d *Docker) Detached(ctx context.Context, network string) (remove func(context.Context) error, err error) {
	out, err := d.run(ctx, "run", "--detach", "--network", network, Ref)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := d.run(ctx, "rm", "--force", strings.TrimSpace(out))
		return err
	}, nil
}

// Client is the command line's program.
func (d *Docker) Client() string { return d.client }

// Close stops it and deletes its data.
func (d *Docker) Close() error {
	if err := d.undo.close(); err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	return nil
}
