package engine

import (
	"maps"
	"time"

	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/network"
)

// Mode says whose namespace a pod or one of its containers uses.
type Mode string

// The modes. An empty mode is the usual one: the pod's network and IPC, the
// container's own processes.
const (
	ModePod       Mode = "pod"       // shared by the pod's containers
	ModeContainer Mode = "container" // the container's own
	ModeNode      Mode = "node"      // the host's
	ModeTarget    Mode = "target"    // another container's of the same pod
)

// PodConfig is what is asked for when a pod is made.
type PodConfig struct {
	Owner     string `json:"owner"` // the API that makes it
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	UID       string `json:"uid,omitempty"`
	Attempt   uint32 `json:"attempt,omitempty"`

	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`

	Hostname     string            `json:"hostname,omitempty"`
	LogDir       string            `json:"logDir,omitempty"`
	DNS          *DNS              `json:"dns,omitempty"` // nil: the host's
	Ports        []network.Port    `json:"ports,omitempty"`
	CgroupParent string            `json:"cgroupParent,omitempty"`
	Sysctls      map[string]string `json:"sysctls,omitempty"`
	Handler      string            `json:"handler,omitempty"` // runtime handler
	Resources    *Resources        `json:"resources,omitempty"`
	Overhead     *Resources        `json:"overhead,omitempty"`

	Net  Mode           `json:"net,omitempty"`
	PID  Mode           `json:"pid,omitempty"`
	IPC  Mode           `json:"ipc,omitempty"`
	User *UserNamespace `json:"user,omitempty"` // nil: the host's

	Privileged bool     `json:"privileged,omitempty"`
	Seccomp    Profile  `json:"seccomp,omitzero"`
	AppArmor   Profile  `json:"apparmor,omitzero"`
	SELinux    *SELinux `json:"selinux,omitempty"`
	Ingress    int64    `json:"ingress,omitempty"` // bandwidth in bits per second
	Egress     int64    `json:"egress,omitempty"`
	// AutoRemove has the pod removed when its containers have ended, by the API
	// that made it or, after a restart, by the engine.
	AutoRemove bool `json:"autoRemove,omitempty"`
}

// DNS is what a pod's resolv.conf says.
type DNS struct {
	Servers  []string `json:"servers,omitempty"`
	Searches []string `json:"searches,omitempty"`
	Options  []string `json:"options,omitempty"`
}

// UserNamespace maps a pod's users to the host's.
type UserNamespace struct {
	UIDs []IDMap `json:"uids"`
	GIDs []IDMap `json:"gids"`
}

// IDMap maps Size users or groups.
type IDMap struct {
	Host, Container, Size uint32
}

// PodState tells whether a pod can hold running containers.
type PodState string

// The states of a pod.
const (
	PodReady    PodState = "ready"
	PodNotReady PodState = "not ready"
)

// Pod is a pod as its record tells it. Values are copies.
type Pod struct {
	ID         string               `json:"id"`
	Boot       string               `json:"boot"` // the boot of the machine that it was made in
	Config     PodConfig            `json:"config"`
	State      PodState             `json:"state"`
	Created    time.Time            `json:"created"`
	Attachment network.Attachment   `json:"attachment,omitzero"`
	Namespaces container.Namespaces `json:"namespaces"`
	Cgroup     string               `json:"cgroup,omitempty"` // where its containers' are, if not in the parent
	Pause      bool                 `json:"pause,omitempty"`  // a process holds the pod's process namespace
}

// HostNetwork tells whether the pod uses the host's network.
func (p *Pod) HostNetwork() bool { return p.Config.Net == ModeNode }

// IP returns the pod's address, or "" on the host's network.
func (p *Pod) IP() string {
	if !p.Attachment.Addr.IsValid() {
		return ""
	}
	return p.Attachment.Addr.Addr().String()
}

// pauseID is the runtime's name for the process that holds a process namespace.
func (p *Pod) pauseID() string { return p.ID + "-pause" }

// clone returns a copy that may be handed out: maps that callers are known to
// change are copied, the rest is never written after it is made.
func (p *Pod) clone() Pod {
	c := *p
	c.Config.Labels = maps.Clone(p.Config.Labels)
	c.Config.Annotations = maps.Clone(p.Config.Annotations)
	return c
}

// The APIs that make pods.
const (
	OwnerCRI   = "cri"
	OwnerLocal = "local"
)
