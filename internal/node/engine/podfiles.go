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

// The files of a pod's directory that its containers see.
const (
	hostsFile    = "hosts"
	hostnameFile = "hostname"
	resolvFile   = "resolv.conf"
	shmDir       = "shm"
)

// shmOptions are those of every container engine: 64 MiB, as POSIX programs
// have come to expect.
const shmOptions = "mode=1777,size=67108864"

// writePodFiles writes the pod's hosts, host name and resolv.conf, and mounts
// its /dev/shm.
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
	for name, text := range map[string][]byte{
		hostsFile: hosts, resolvFile: resolv, hostnameFile: []byte(hostname + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
		if uid+gid == 0 {
			continue // as it is
		}
		if err := os.Chown(filepath.Join(dir, name), uid, gid); err != nil {
			return err
		}
	}
	if p.Config.IPC == ModeNode {
		return nil
	}
	shm := filepath.Join(dir, shmDir)
	if err := os.Mkdir(shm, 0o700); err != nil {
		return err
	}
	options := fmt.Sprintf("%s,uid=%d,gid=%d", shmOptions, uid, gid)
	if err := unix.Mount("shm", shm, "tmpfs", unix.MS_NOEXEC|unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount the pod's /dev/shm: %w", err)
	}
	return nil
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

// unmountShm unmounts a pod's /dev/shm; it may be gone already.
func unmountShm(dir string) error {
	// Detached: a container of the pod may still be going away with the mount.
	err := unix.Unmount(filepath.Join(dir, shmDir), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount the pod's /dev/shm: %w", err)
	}
	return nil
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
