package engine

import (
	"maps"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// ContainerConfig is what is asked for when a container is made.
type ContainerConfig struct {
	Name      string `json:"name"`
	Attempt   uint32 `json:"attempt,omitempty"`
	Image     string `json:"image"`               // as the image store finds it
	UserImage string `json:"userImage,omitempty"` // as the user wrote it

	ImageAnnotations map[string]string `json:"imageAnnotations,omitempty"`
	Labels           map[string]string `json:"labels,omitempty"`
	Annotations      map[string]string `json:"annotations,omitempty"`

	Command []string `json:"command,omitempty"` // instead of the image's entrypoint
	Args    []string `json:"args,omitempty"`    // instead of the image's arguments
	Env     []string `json:"env,omitempty"`     // NAME=value, after the image's
	Dir     string   `json:"dir,omitempty"`

	Mounts  []Mount  `json:"mounts,omitempty"`
	Devices []Device `json:"devices,omitempty"`
	CDI     []string `json:"cdi,omitempty"` // fully qualified names

	Log       string `json:"log,omitempty"` // relative to the pod's log directory
	LogSize   int64  `json:"logSize,omitempty"`
	LogFiles  int    `json:"logFiles,omitempty"`
	Stdin     bool   `json:"stdin,omitempty"`
	StdinOnce bool   `json:"stdinOnce,omitempty"`
	TTY       bool   `json:"tty,omitempty"`
	Hold      bool   `json:"hold,omitempty"` // keep output back until the first Attach

	StopSignal string     `json:"stopSignal,omitempty"` // instead of the image's
	Resources  *Resources `json:"resources,omitempty"`
	Security   Security   `json:"security"`
}

// Security is what a container's processes may do.
type Security struct {
	Privileged bool `json:"privileged,omitempty"`

	AddCaps     []string `json:"addCaps,omitempty"`
	DropCaps    []string `json:"dropCaps,omitempty"`
	AmbientCaps []string `json:"ambientCaps,omitempty"`

	PID    Mode   `json:"pid,omitempty"`
	Target string `json:"target,omitempty"` // container whose processes ModeTarget shares

	// User, HostUsers, HostNetwork and HostIPC say what the container expects;
	// which it gets is the pod's matter.
	User        *UserNamespace `json:"user,omitempty"`
	HostUsers   bool           `json:"hostUsers,omitempty"`
	HostNetwork bool           `json:"hostNetwork,omitempty"`
	HostIPC     bool           `json:"hostIPC,omitempty"`

	UID          *int64  `json:"uid,omitempty"`
	GID          *int64  `json:"gid,omitempty"`
	Username     string  `json:"username,omitempty"` // name or number; may have :group
	Groups       []int64 `json:"groups,omitempty"`
	StrictGroups bool    `json:"strictGroups,omitempty"` // ignore the image's /etc/group

	ReadonlyRootfs  bool     `json:"readonlyRootfs,omitempty"`
	NoNewPrivileges bool     `json:"noNewPrivileges,omitempty"`
	MaskedPaths     []string `json:"maskedPaths,omitempty"`
	ReadonlyPaths   []string `json:"readonlyPaths,omitempty"`

	Seccomp  Profile  `json:"seccomp,omitzero"`
	AppArmor Profile  `json:"apparmor,omitzero"`
	SELinux  *SELinux `json:"selinux,omitempty"`
}

// ProfileType says where a security profile comes from.
type ProfileType string

// The types of profile. None is what an API leaves out.
const (
	ProfileNone       ProfileType = ""
	ProfileDefault    ProfileType = "default"
	ProfileUnconfined ProfileType = "unconfined"
	ProfileLocalhost  ProfileType = "localhost"
)

// Profile names a seccomp or AppArmor profile. Ref is the file or the loaded
// profile of ProfileLocalhost.
type Profile struct {
	Type ProfileType `json:"type,omitempty"`
	Ref  string      `json:"ref,omitempty"`
}

// SELinux is a label's parts.
type SELinux struct {
	User, Role, Type, Level string
}

// Mount is a mount that an API asks for. Image, when set, is mounted instead of
// a directory of the host.
type Mount struct {
	Source       string  `json:"source,omitempty"`
	Image        string  `json:"image,omitempty"`
	UserImage    string  `json:"userImage,omitempty"` // as the user wrote it
	ImageID      string  `json:"imageID,omitempty"`   // what Image led to; the engine fills it in
	ImageSubPath string  `json:"imageSubPath,omitempty"`
	Target       string  `json:"target"`
	ReadOnly     bool    `json:"readOnly,omitempty"`
	Recursive    bool    `json:"recursive,omitempty"`   // read-only below it as well
	Propagation  string  `json:"propagation,omitempty"` // "", "rslave" or "rshared"
	Relabel      bool    `json:"relabel,omitempty"`
	UIDs         []IDMap `json:"uids,omitempty"`
	GIDs         []IDMap `json:"gids,omitempty"`
	Tmpfs        bool    `json:"tmpfs,omitempty"`
}

// Device is a device of the host that a container may use.
type Device struct {
	Source      string `json:"source"`
	Target      string `json:"target"`
	Permissions string `json:"permissions"` // of r, w and m
}

// Resources are a container's limits. A zero is no limit.
type Resources struct {
	CPUPeriod   int64             `json:"cpuPeriod,omitempty"` // microseconds
	CPUQuota    int64             `json:"cpuQuota,omitempty"`
	CPUShares   int64             `json:"cpuShares,omitempty"`
	Memory      int64             `json:"memory,omitempty"` // bytes
	Swap        int64             `json:"swap,omitempty"`   // bytes of memory and swap together
	OOMScoreAdj int64             `json:"oomScoreAdj,omitempty"`
	CPUs        string            `json:"cpus,omitempty"`
	Mems        string            `json:"mems,omitempty"`
	HugePages   []HugePage        `json:"hugePages,omitempty"`
	Unified     map[string]string `json:"unified,omitempty"`
}

// HugePage limits the huge pages of one size.
type HugePage struct {
	Size  string // 2MB, 1GB
	Limit uint64
}

// ContainerState is where a container is in its life.
type ContainerState string

// The states of a container.
const (
	Created ContainerState = "created"
	Running ContainerState = "running"
	Exited  ContainerState = "exited"
)

// Container is a container as its record tells it. Values are copies.
type Container struct {
	ID      string          `json:"id"`
	PodID   string          `json:"pod"`
	Boot    string          `json:"boot"`
	Config  ContainerConfig `json:"config"`
	Image   ImageUsed       `json:"image"`
	State   ContainerState  `json:"state"`
	Created time.Time       `json:"created"`

	PID      int       `json:"pid,omitempty"` // in the host\'s namespace, while it runs
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	Code     int       `json:"code"`
	Reason   string    `json:"reason,omitempty"` // Completed, Error, OOMKilled, StartError, Unknown
	Message  string    `json:"message,omitempty"`

	// Runtime is the handler of the stock runtime that runs the container, "" for
	// the native path. Reason tells what that cannot do, unless the pod asked.
	Runtime       string `json:"runtime,omitempty"`
	RuntimeReason string `json:"runtimeReason,omitempty"`

	User       specs.User `json:"user"`
	StopSignal string     `json:"stopSignal"` // SIGTERM
	LogPath    string     `json:"logPath,omitempty"`
	Resources  *Resources `json:"resources,omitempty"` // as last updated
	ImageViews []string   `json:"imageViews,omitempty"`
}

// ImageUsed is the image that a container was made from.
type ImageUsed struct {
	ID   digest.Digest `json:"id"`
	Ref  string        `json:"ref"`  // name with digest where there is one
	Name string        `json:"name"` // as asked for
}

// Why a container ended, in the words of the kubelet.
const (
	ReasonCompleted  = "Completed"
	ReasonError      = "Error"
	ReasonOOM        = "OOMKilled"
	ReasonStartError = "StartError"
	ReasonUnknown    = "Unknown"
)

// logPath is where the container's output goes, or "".
func logPath(pod *PodConfig, c *ContainerConfig) string {
	if pod.LogDir == "" || c.Log == "" {
		return ""
	}
	return filepath.Join(pod.LogDir, c.Log)
}

func (c *Container) clone() Container {
	n := *c
	n.Config.Labels = maps.Clone(c.Config.Labels)
	n.Config.Annotations = maps.Clone(c.Config.Annotations)
	return n
}
