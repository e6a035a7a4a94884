package client

import (
	"fmt"
	"net/url"
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
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// Labels that Sampan puts on what it makes.
const (
	LabelName      = "app.kubernetes.io/name"
	LabelManagedBy = "app.kubernetes.io/managed-by"
	ManagedBy      = "sampan"
)

// Deployment is what is read of a Deployment.
type Deployment struct {
	Meta `json:"metadata"`
	Spec struct {
		Replicas int
		Template struct {
			Spec struct {
				Containers []struct{ Name, Image string }
			}
		}
	}
	Status struct {
		Replicas, ReadyReplicas, UpdatedReplicas, AvailableReplicas int
		ObservedGeneration                                          int64
		Conditions                                                  []Condition
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

// DeploymentPath, PodPath, ServicePath are where objects of a namespace are; an
// empty name gives the collection, an empty namespace that of all namespaces.
func DeploymentPath(ns, name string) string { return path("/apis/apps/v1", ns, "deployments", name) }

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
func Selecting(path, label, value string) string {
	return fmt.Sprintf("%s?labelSelector=%s", path, url.QueryEscape(label+"="+value))
}
