package engine

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// mounts lays out what every container has, and the pod's files.
func (b *builder) mounts(context.Context) error {
	sys, cgroup := "ro", "ro"
	if b.rec.Config.Security.Privileged {
		sys, cgroup = "rw", "rw"
	}
	b.spec.Mounts = []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", sys}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", cgroup}},
	}
	dir := b.engine.podDir(b.pod.ID)
	// bind adds a file of the pod unless the request brings its own: the kubelet
	// writes /etc/hosts itself.
	bind := func(source, target string, options ...string) {
		asked := slices.ContainsFunc(b.rec.Config.Mounts, func(m Mount) bool { return path.Clean(m.Target) == target })
		if !asked {
			b.bind(source, target, append([]string{"rbind", "rprivate"}, options...)...)
		}
	}
	mode := "rw"
	if b.rec.Config.Security.ReadonlyRootfs {
		mode = "ro"
	}
	bind(filepath.Join(dir, hostnameFile), "/etc/hostname", mode)
	bind(filepath.Join(dir, hostsFile), "/etc/hosts", mode)
	bind(filepath.Join(dir, resolvFile), "/etc/resolv.conf", mode)
	shm := filepath.Join(dir, shmDir)
	if b.pod.Config.IPC == ModeNode {
		shm = "/dev/shm"
	}
	bind(shm, "/dev/shm", "rw")
	return nil
}

func (b *builder) bind(source, target string, options ...string) {
	b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: target, Type: "bind", Source: source, Options: options})
}

// requestedMounts adds the request's mounts, parents before what lies in them.
func (b *builder) requestedMounts(ctx context.Context) error {
	mounts := slices.Clone(b.rec.Config.Mounts)
	b.rec.Config.Mounts = mounts // of the record's own: what images led to is noted in it
	order := make([]*Mount, len(mounts))
	for i := range mounts {
		order[i] = &mounts[i]
	}
	slices.SortStableFunc(order, func(x, y *Mount) int { return depth(x.Target) - depth(y.Target) })
	for i, m := range order {
		if err := checkMount(m); err != nil {
			return fmt.Errorf("mounts %s: %w", m.Target, err)
		}
		// What the request mounts takes the place of what every container has.
		b.spec.Mounts = slices.DeleteFunc(b.spec.Mounts, func(have specs.Mount) bool {
			return have.Destination == path.Clean(m.Target)
		})
		var err error
		switch {
		case m.Tmpfs:
			b.spec.Mounts = append(b.spec.Mounts, specs.Mount{
				Destination: path.Clean(m.Target), Type: "tmpfs", Source: "tmpfs",
				Options: []string{"nosuid", "nodev", "mode=1777"},
			})
		case m.Image != "":
			err = b.mountImage(ctx, m, i)
		default:
			err = b.mountHost(m)
		}
		if err == nil {
			err = b.mapOwners(m)
		}
		if err != nil {
			return fmt.Errorf("mounts %s: %w", m.Target, err)
		}
	}
	return nil
}

func depth(target string) int { return strings.Count(path.Clean(target), "/") }

func checkMount(m *Mount) error {
	switch {
	case !path.IsAbs(m.Target):
		return fmt.Errorf("container_path is not absolute: %w", fault.Invalid)
	case path.Clean(m.Target) == "/":
		return fmt.Errorf("container_path is the container's root: %w", fault.Invalid)
	case strings.ContainsRune(m.Target+m.Source, 0):
		return fmt.Errorf("a path contains a zero byte: %w", fault.Invalid)
	case m.Recursive && !m.ReadOnly:
		return fmt.Errorf("recursive_read_only without readonly: %w", fault.Invalid)
	case m.Recursive && m.Propagation != "":
		return fmt.Errorf("recursive_read_only with a propagation other than private: %w", fault.Invalid)
	case m.Image == "" && m.ImageSubPath != "":
		return fmt.Errorf("image_sub_path without image: %w", fault.Invalid)
	case m.Image != "" && !m.ReadOnly:
		return fmt.Errorf("an image's mount has readonly=false: %w", fault.Invalid)
	case m.Image != "" && m.Source != "":
		return fmt.Errorf("both host_path and image: %w", fault.Invalid)
	case m.Image == "" && !m.Tmpfs && !filepath.IsAbs(m.Source):
		return fmt.Errorf("host_path %q is not absolute: %w", m.Source, fault.Invalid)
	}
	if err := checkPath("container_path", m.Target); err != nil {
		return err
	}
	return checkPath("host_path", m.Source)
}

// mapOwners lets a mount show its owners as the request wants it.
func (b *builder) mapOwners(m *Mount) error {
	if len(m.UIDs)+len(m.GIDs) == 0 {
		return nil
	}
	pod := b.pod.Config.User
	switch {
	case pod == nil:
		return fmt.Errorf("uidMappings and gidMappings in a pod without userns_options: %w", fault.Precondition)
	case m.Tmpfs || m.Image != "":
		return fmt.Errorf("uidMappings and gidMappings are for a host_path: %w", fault.Invalid)
	}
	if err := checkMappings(m.UIDs); err != nil {
		return fmt.Errorf("uidMappings%w", err)
	}
	if err := checkMappings(m.GIDs); err != nil {
		return fmt.Errorf("gidMappings%w", err)
	}
	mount := &b.spec.Mounts[len(b.spec.Mounts)-1]
	mount.Options = append(mount.Options, "idmap")
	if !slices.Equal(m.UIDs, pod.UIDs) || !slices.Equal(m.GIDs, pod.GIDs) {
		mount.UIDMappings, mount.GIDMappings = idMappings(m.UIDs), idMappings(m.GIDs)
	}
	return nil
}

// mountHost binds a path of the host. One that is not there becomes a directory,
// as every CRI runtime does it.
func (b *builder) mountHost(m *Mount) error {
	source, err := filepath.EvalSymlinks(m.Source)
	if os.IsNotExist(err) {
		if err := os.MkdirAll(m.Source, 0o755); err != nil {
			return fmt.Errorf("host_path: %w", ofPath(err))
		}
		source, err = filepath.EvalSymlinks(m.Source)
	}
	if err != nil {
		return fmt.Errorf("host_path: %w", ofPath(err))
	}
	options := []string{"rbind"}
	switch m.Propagation {
	case "":
		options = append(options, "rprivate")
	case "rslave":
		if err := propagates(source, "shared:", "master:"); err != nil {
			return err
		}
		options = append(options, "rslave")
		if b.spec.Linux.RootfsPropagation != "rshared" {
			b.spec.Linux.RootfsPropagation = "rslave"
		}
	case "rshared":
		if err := propagates(source, "shared:"); err != nil {
			return err
		}
		options = append(options, "rshared")
		b.spec.Linux.RootfsPropagation = "rshared"
	default:
		return fmt.Errorf("propagation %q: %w", m.Propagation, fault.Invalid)
	}
	switch {
	case m.Recursive:
		options = append(options, "rro")
	case m.ReadOnly:
		options = append(options, "ro")
	default:
		options = append(options, "rw")
	}
	b.bind(source, path.Clean(m.Target), options...)
	return nil
}

// propagates refuses a source whose mount does not pass mounts on: the request
// would silently get less than it asked for.
func propagates(source string, kinds ...string) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	best, optional := "", ""
	for line := range strings.Lines(string(table)) {
		before, _, _ := strings.Cut(line, " - ")
		f := strings.Fields(before)
		if len(f) < 6 {
			continue
		}
		point := f[4]
		under := source == point || point == "/" || strings.HasPrefix(source, point+"/")
		if under && len(point) >= len(best) {
			best, optional = point, strings.Join(f[6:], " ")
		}
	}
	for _, k := range kinds {
		if strings.Contains(optional, k) {
			return nil
		}
	}
	return fmt.Errorf("host_path %s is on the mount %s, which is not %s: %w",
		source, best, strings.TrimSuffix(kinds[0], ":"), fault.Precondition)
}

// mountImage mounts another image's filesystem, read-only, below the
// container's directory and binds it, or a directory in it, into the container.
func (b *builder) mountImage(ctx context.Context, m *Mount, n int) error {
	img, err := b.engine.parts.Images.Get(ctx, m.Image)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	top, err := b.engine.unpack(ctx, img, nil)
	if err != nil {
		return err
	}
	m.ImageID = img.ID.String()
	name := viewName(b.rec.ID, fmt.Sprint(n))
	// The directory comes first: after a crash it tells of the view.
	at := filepath.Join(b.dir, viewsDir, fmt.Sprint(n))
	if err := os.MkdirAll(at, 0o711); err != nil {
		return err
	}
	b.rec.ImageViews = append(b.rec.ImageViews, name)
	view, err := b.engine.parts.Snapshots.View(ctx, name, top)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	if err := mountView(view, at, b.pod.Namespaces.User); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	source, err := subPath(at, m.ImageSubPath)
	if err != nil {
		return err
	}
	b.bind(source, path.Clean(m.Target), "rbind", "rprivate", "ro")
	return nil
}

// viewsDir is where a container's image mounts are, below its own directory.
const viewsDir = "images"

// viewName names the filesystem of a container's n-th image mount.
func viewName(id, n string) string { return id + "-image-" + n }

// subPath finds sub in the mounted image without leaving it by a link or "..".
func subPath(root, sub string) (string, error) {
	if sub == "" {
		return root, nil
	}
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, sub, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return "", fmt.Errorf("image_sub_path %q: %w: %w", sub, fault.Invalid, err)
	}
	defer unix.Close(fd)
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
}
