package client

import (
	"net/url"
	"strings"
	"time"
)

// Meta is the part of an object's metadata that is shown or set.
type Meta struct {
	Name        string            `json:"name,omitempty"`
	Namespace   string            `json:"namespace,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Created     time.Time         `json:"creationTimestamp,omitzero"`
	Deleted     *time.Time        `json:"deletionTimestamp,omitempty"`
	Generation  int64             `json:"generation,omitempty"`
	UID         string            `json:"uid,omitempty"`
	// ResourceVersion, sent with a change, refuses it if there was another.
	ResourceVersion string  `json:"resourceVersion,omitempty"`
	Owners          []Owner `json:"ownerReferences,omitempty"`
}

// Owner is whose an object is. One of them, the controller, looks after it.
type Owner struct {
	Kind, Name string
	Controller bool
}

// Labels that Sampan puts on what it makes.
const (
	LabelName      = "app.kubernetes.io/name"
	LabelManagedBy = "app.kubernetes.io/managed-by"
	ManagedBy      = "sampan"
)

// Workload is what is read of what makes pods: a Deployment, a StatefulSet, a
// Job and their like. What a kind does not have is nil or zero.
type Workload struct {
	Meta `json:"metadata"`
	Spec struct {
		Replicas *int
		Selector struct {
			MatchLabels map[string]string
		}
	}
	Status struct {
		ReadyReplicas, UpdatedReplicas int
		ObservedGeneration             int64
	}
}

// Condition is one sentence of an object's status.
type Condition struct {
	Type, Status, Reason, Message string
}

// Pod is what is read of a Pod.
type Pod struct {
	Meta `json:"metadata"`
	Spec struct {
		NodeName   string
		Containers []struct{ Name, Image string }
	}
	Status struct {
		Phase, PodIP, Reason, Message string
		Conditions                    []Condition
		ContainerStatuses             []ContainerStatus
		InitContainerStatuses         []ContainerStatus
	}
}

// ContainerStatus is what is read of a container's state.
type ContainerStatus struct {
	Name         string
	Ready        bool
	RestartCount int
	ContainerID  string
	State        struct {
		Waiting    *struct{ Reason, Message string }
		Running    *struct{ StartedAt time.Time }
		Terminated *struct {
			Reason, Message string
			ExitCode        int
		}
	}
}

// Service is what is read of a Service.
type Service struct {
	Meta `json:"metadata"`
	Spec struct {
		Type        string
		ClusterIP   string
		ExternalIPs []string
		Ports       []struct{ Port, NodePort int }
	}
}

// KubeNode is what is read of a Node.
type KubeNode struct {
	Meta   `json:"metadata"`
	Status struct {
		Conditions []Condition
		Addresses  []struct{ Type, Address string }
	}
}

// Items is a list as the API returns it.
type Items[T any] struct {
	Items []T `json:"items"`
}

// WorkloadPath, PodPath, ServicePath are where objects of a namespace are; an
// empty name gives the collection, an empty namespace that of all namespaces.
// WorkloadPath is empty for a kind that is none.
func WorkloadPath(kind, ns, name string) string {
	switch kind {
	case "App":
		return AppPath(ns, name)
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet":
		return path("/apis/apps/v1", ns, strings.ToLower(kind)+"s", name)
	case "Job", "CronJob":
		return path("/apis/batch/v1", ns, strings.ToLower(kind)+"s", name)
	case "Pod":
		return PodPath(ns, name)
	}
	return ""
}

// DeploymentPath is the path of a Deployment.
func DeploymentPath(ns, name string) string { return WorkloadPath("Deployment", ns, name) }

// PodPath is the path of a pod.
func PodPath(ns, name string) string { return path("/api/v1", ns, "pods", name) }

// ServicePath is the path of a service.
func ServicePath(ns, name string) string { return path("/api/v1", ns, "services", name) }

// NodePath is the path of a node.
func NodePath(name string) string { return path("/api/v1", "", "nodes", name) }

func path(group, ns, kind, name string) string {
	p := group
	if ns != "" {
		p += "/namespaces/" + url.PathEscape(ns)
	}
	p += "/" + kind
	if name != "" {
		p += "/" + url.PathEscape(name)
	}
	return p
}

// Selecting narrows a collection's path to the objects with a label.
func Selecting(path, label, value string) string { return SelectingAll(path, label+"="+value) }

// SelectingAll narrows a collection's path by a label selector.
func SelectingAll(path, selector string) string {
	return path + "?labelSelector=" + url.QueryEscape(selector)
}

// Named narrows a collection's path to the one object with this name.
func Named(path, name string) string {
	return path + "?fieldSelector=" + url.QueryEscape("metadata.name="+name)
}
