package engine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A pod's files are in a filesystem of its own, which is also its /dev/shm: it
// bounds what containers can write to them, and goes by one unmount. It is in
// memory because nothing of it outlives the pod, and because disks are slow with
// small files. What belongs to one container is below Config.Dir, and only where
// there is something.
func podsDir(cfg Config) string  { return filepath.Join(cfg.RunDir, "pods") }
func filesDir(cfg Config) string { return filepath.Join(cfg.Dir, "files") }

func (e *Engine) podDir(id string) string  { return filepath.Join(podsDir(e.cfg), id) }
func (e *Engine) filesOf(id string) string { return filepath.Join(filesDir(e.cfg), id) }

// The files of a pod's directory that its containers see.
const (
	hostsFile    = "hosts"
	hostnameFile = "hostname"
	resolvFile   = "resolv.conf"
	shmDir       = "shm"
)

// podFSOptions have the size of /dev/shm with every container engine: 64 MiB, as
// POSIX programs have come to expect.
const podFSOptions = "mode=711,size=67108864"

// mountPodDir makes a pod's directory.
func mountPodDir(dir string) error {
	if err := os.Mkdir(dir, 0o711); err != nil {
		return err
	}
	if err := unix.Mount("shm", dir, "tmpfs", unix.MS_NOEXEC|unix.MS_NOSUID|unix.MS_NODEV, podFSOptions); err != nil {
		return fmt.Errorf("mount the pod's /dev/shm: %w", err)
	}
	return nil
}

// dropPodDir takes a pod's directory away; it may be gone already.
func dropPodDir(dir string) error {
	// Detached: a container of the pod may still be going away with the mount.
	err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount the pod's /dev/shm: %w", err)
	}
	return os.RemoveAll(dir)
}

// writePodFiles writes the pod's hosts, host name and resolv.conf, and makes its
// /dev/shm.
func writePodFiles(dir string, p *Pod) error {
	hosts, err := hostsFor(p)
	if err != nil {
		return err
	}
	resolv, err := resolvFor(p.Config.DNS)
	if err != nil {
		return err
	}
	hostname := p.Config.Hostname
	if hostname == "" {
		if hostname, err = os.Hostname(); err != nil {
			return fmt.Errorf("host name: %w", err)
		}
	}
	uid, gid := p.Config.User.root()
	own := func(name string, mode os.FileMode) error {
		if uid+gid != 0 {
			if err := os.Chown(filepath.Join(dir, name), uid, gid); err != nil {
				return err
			}
		}
		return os.Chmod(filepath.Join(dir, name), mode) // whatever the umask says
	}
	for name, text := range map[string][]byte{
		hostsFile: hosts, resolvFile: resolv, hostnameFile: []byte(hostname + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
		if err := own(name, 0o644); err != nil {
			return err
		}
	}
	if p.Config.IPC == ModeNode {
		return nil
	}
	if err := os.Mkdir(filepath.Join(dir, shmDir), 0o700); err != nil {
		return err
	}
	return own(shmDir, 0o777|os.ModeSticky)
}

func hostsFor(p *Pod) ([]byte, error) {
	if p.HostNetwork() {
		b, err := os.ReadFile("/etc/hosts")
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return b, err
	}
	var b bytes.Buffer
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	if ip := p.IP(); ip != "" && p.Config.Hostname != "" {
		fmt.Fprintf(&b, "%s\t%s\n", ip, p.Config.Hostname)
	}
	return b.Bytes(), nil
}

// resolvFor writes what the pod asked for, or what the host uses.
func resolvFor(dns *DNS) ([]byte, error) {
	if dns == nil {
		b, err := os.ReadFile("/etc/resolv.conf")
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return b, err
	}
	var b bytes.Buffer
	if len(dns.Searches) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(dns.Searches, " "))
	}
	for _, s := range dns.Servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	if len(dns.Options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(dns.Options, " "))
	}
	return b.Bytes(), nil
}

// unmountBelow unmounts everything at or below dir, the latest mount first.
func unmountBelow(dir string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	if !bytes.Contains(b, []byte(dir)) {
		return nil
	}
	var points []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && (f[4] == dir || strings.HasPrefix(f[4], dir+"/")) {
			points = append(points, f[4])
		}
	}
	for i := len(points) - 1; i >= 0; i-- {
		// Detached: a container of the pod may still be going away with the mount.
		err := unix.Unmount(points[i], unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmount %s: %w", points[i], err)
		}
	}
	return nil
}
