package engine

import (
	"context"
	"io"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/image"
	"github.com/sampan-cloud/sampan/internal/node/network"
	"github.com/sampan-cloud/sampan/internal/node/snapshot"
)

// Parts are what an Engine stands on.
type Parts struct {
	Runtime   Runtime
	Network   Network
	Snapshots Snapshots
	Images    Images
	Scopes    Scopes // nil where pods' cgroups are only their parents
	// Seccomp returns the default profile for a process with these capabilities.
	Seccomp func(caps []string) *specs.LinuxSeccomp
}

// Runtime runs containers. *container.Runtime is the real one.
type Runtime interface {
	// Handlers names the stock runtimes that can be asked for.
	Handlers() []string
	// Choose says which path is to run a container: the one it names, or else the
	// native one if that can do exactly what is asked for.
	Choose(ctx context.Context, spec container.Spec) (container.Choice, error)

	// Start runs the container up to its execve. A failure names the step, the
	// path and the errno, and leaves nothing behind.
	Start(ctx context.Context, spec container.Spec) (container.Status, error)

	// Exec runs one more process inside a container and returns its exit code.
	// With a terminal (process.Terminal) Stdout carries everything. When ctx ends
	// the process is killed.
	Exec(ctx context.Context, id string, process *specs.Process, io container.Stdio) (int, error)

	// Attach connects to the running container's own input and output and
	// returns when the container ends or ctx does. Many may be attached at once.
	Attach(ctx context.Context, id string, io container.Stdio) error

	// Signal sends a signal to the container's first process, or to all of them.
	Signal(ctx context.Context, id string, signal int, all bool) error

	// Wait returns once the container has ended and its output is written.
	Wait(ctx context.Context, id string) (container.Status, error)

	// Status and List tell what the keeper knows; ended containers stay known
	// until Delete, over restarts of daemon and keeper.
	Status(ctx context.Context, id string) (container.Status, error)
	List(ctx context.Context) ([]container.Status, error)

	// Exits delivers every exit, also of containers that ended while nobody
	// listened and are not deleted yet. It is closed when ctx ends.
	Exits(ctx context.Context) (<-chan container.Exit, error)

	// Delete forgets an ended container and removes its cgroup. Deleting an
	// unknown container is not an error.
	Delete(ctx context.Context, id string) error

	// Checkpoint writes a running container's processes and what it has written
	// into a directory, as *container.Runtime tells. It returns only when nothing
	// acts on the container any more, also after ctx has ended.
	Checkpoint(ctx context.Context, spec container.Spec, dir string, also map[string]string) error

	Update(ctx context.Context, id string, resources *specs.LinuxResources) error
	ReopenLog(ctx context.Context, id string) error
	Stats(ctx context.Context, id string) (container.Stats, error)

	// Namespaces makes the namespaces that the containers of a pod share and that
	// live without a process, each when asked, with the host name and sysctls set.
	// With user mappings they belong to a user namespace, made as well. Making
	// those of a known pod returns the same paths.
	Namespaces(ctx context.Context, pod string, want container.NamespaceRequest) (container.Namespaces, error)
	// ReleaseNamespaces lets go of them. Repeating it is not an error.
	ReleaseNamespaces(ctx context.Context, pod string) error
	// UserNamespaces tells why containers cannot have user namespaces over layers
	// on the filesystem of dir; nil means that they can.
	UserNamespaces(dir string) error
}

// Scopes keeps a cgroup for each pod, in which its containers' are. *scope.Manager,
// which has systemd do so, is the real one.
type Scopes interface {
	// Hold makes a pod's cgroup below its parent and returns the path. It may be
	// repeated and then returns the same, or makes anew what was lost.
	Hold(ctx context.Context, parent, pod string) (path string, err error)
	// Release removes it with all that is in it; the path may be unknown.
	// Repeating it is not an error.
	Release(ctx context.Context, pod, path string) error
}

// Network joins a pod to the cluster. Attach may be repeated with the same pod
// and then returns the same address. Detach of an unknown pod is not an error,
// because cleanup runs more than once.
type Network interface {
	Attach(ctx context.Context, pod network.Pod) (network.Attachment, error)
	Detach(ctx context.Context, podID string) error
	// Sweep detaches every pod that is not among known.
	Sweep(ctx context.Context, known []string) error
}

// Snapshots gives containers writable filesystems. *snapshot.Store is the real one.
type Snapshots interface {
	// Commit makes the layer key on top of parent (empty for the lowest) by
	// letting fill write into an empty directory. A committed layer is returned
	// at once; two at the same time do the work once. lowers are the directories
	// of the layers below, top first.
	Commit(ctx context.Context, key, parent string, fill func(ctx context.Context, dir string, lowers []string) error) error
	// CommitAhead is Commit that does not wait for a parent which is just being
	// committed: below does, when fill needs it.
	CommitAhead(ctx context.Context, key, parent string, fill func(ctx context.Context, dir string, below func(context.Context) ([]string, error)) error) error
	// Has tells whether a layer is committed.
	Has(ctx context.Context, key string) bool
	// Prepare makes a writable filesystem on top of the layer parent. Preparing an
	// existing name returns the same filesystem.
	Prepare(ctx context.Context, name, parent string) (snapshot.Mount, error)
	// View is Prepare without the writable part.
	View(ctx context.Context, name, parent string) (snapshot.Mount, error)
	// Remove deletes a prepared filesystem. Repeating it is not an error.
	Remove(ctx context.Context, name string) error
	// Prepared lists the names of all prepared filesystems.
	Prepared(ctx context.Context) []string
	// Usage tells how much a prepared filesystem's writable part holds.
	Usage(ctx context.Context, name string) (snapshot.Usage, error)
	// Collect deletes committed layers that no prepared filesystem stands on and
	// keep does not name.
	Collect(ctx context.Context, keep map[string]bool) (freed int64, err error)
}

// Images stores, pulls and unpacks images. *image.Store is the real one.
type Images interface {
	// Get finds an image by name, by ID (with or without "sha256:", a unique
	// prefix is enough) or by name@digest.
	Get(ctx context.Context, ref string) (image.Image, error)
	List(ctx context.Context) ([]image.Image, error)
	Pull(ctx context.Context, ref string, opt image.PullOptions) (image.Image, error)
	// Remove takes a name away; the ID takes all of an image's names away.
	Remove(ctx context.Context, ref string) error
	// UnpackAhead writes one layer into dir in overlay's own form (whiteouts,
	// opaque directories). below waits until the layers below it are unpacked and
	// returns them, top first.
	UnpackAhead(ctx context.Context, layer image.Layer, dir string, below func(context.Context) ([]string, error)) error
	// Annotations returns what the manifest of an image says beside its parts.
	Annotations(ctx context.Context, img image.Image) (map[string]string, error)
	// OpenLayer reads the tar of a layer, for images that are no filesystem.
	OpenLayer(ctx context.Context, layer image.Layer) (io.ReadCloser, error)
	// Usage tells how much the blobs hold.
	Usage(ctx context.Context) (bytes, inodes uint64, err error)
}
