// Package catalog is how services outside the cluster are registered: JSON over the
// Kubernetes API server's own address, with its authentication and its roles
// (group catalog.sampan.dev, resources services, services/instances and
// services/heartbeats).
//
//	GET    /apis/catalog.sampan.dev/v1alpha1/services[?watch=true]        Services, or Events
//	GET    …/namespaces/{namespace}/services[?watch=true]                 Services, or Events
//	GET    …/namespaces/{namespace}/services/{name}                       Service
//	DELETE …/namespaces/{namespace}/services/{name}                       with all its instances
//	GET    …/namespaces/{namespace}/services/{name}/instances             Instances
//	PUT    …/namespaces/{namespace}/services/{name}/instances/{id}        Instance; Instance
//	GET    …/namespaces/{namespace}/services/{name}/instances/{id}        Instance
//	DELETE …/namespaces/{namespace}/services/{name}/instances/{id}
//	PUT    …/namespaces/{namespace}/services/{name}/heartbeats/{id}       Heartbeat, or nothing
//
// A PUT of an instance may be repeated; it counts as a heartbeat. A heartbeat of
// an instance that is not there answers 404: register it again. An Event is a
// JSON object on a line of its own; a watch begins with an ADDED for each service
// that is there. An error is a Kubernetes Status, whose causes name the fields.
package catalog

import (
	"encoding/json"
	"net/url"
	"reflect"
	"time"
)

// Group is the API group, as roles name it.
const Group = "catalog.sampan.dev"

// Root is what every path begins with.
const Root = "/apis/" + Group + "/v1alpha1"

// ManagedBy is the value of app.kubernetes.io/managed-by on a Service that the
// catalog owns.
const ManagedBy = Group

// Instance is one process outside the cluster that serves a service.
type Instance struct {
	ID string `json:"id"` // a DNS label, unique in its service

	Address string `json:"address"`         // IPv4, IPv6, or a DNS name
	Port    int    `json:"port,omitempty"`  // short for Ports with one that has no name
	Ports   []Port `json:"ports,omitempty"` // several ports need names

	Tags []string          `json:"tags,omitempty"`
	Meta map[string]string `json:"meta,omitempty"`

	// TTL is how long it counts as alive after a heartbeat; zero asks for none.
	TTL Duration `json:"ttl,omitzero"`
	// Check is what the cloud does to see whether it serves; nil is nothing.
	Check *Check `json:"check,omitempty"`
	// RemoveAfter is how long it may be silent or failing before it is forgotten.
	// Zero is ten times the TTL and a minute at least; never, without a TTL.
	RemoveAfter Duration `json:"removeAfter,omitzero"`

	// Headless asks for a service without an address of its own: its name leads to
	// the instances themselves. It is the same for all instances of a service.
	Headless *bool `json:"headless,omitempty"`

	Status *Status `json:"status,omitempty"` // told, never asked
}

// Port is where an instance listens.
type Port struct {
	Name        string `json:"name,omitempty"`
	Port        int    `json:"port"`
	Protocol    string `json:"protocol,omitempty"`    // TCP, UDP or SCTP; TCP when empty
	AppProtocol string `json:"appProtocol,omitempty"` // http, h2c, https …, for the gateway
	// ServicePort is the service's own port; that of its first instance when zero.
	ServicePort int `json:"servicePort,omitempty"`
}

// Check says how the cloud sees whether an instance serves.
type Check struct {
	HTTP     string   `json:"http,omitempty"`  // the path to GET: 200 to 399 is well
	HTTPS    bool     `json:"https,omitempty"` // over TLS; the certificate is not checked
	Host     string   `json:"host,omitempty"`  // the Host header
	TCP      bool     `json:"tcp,omitempty"`   // that a connection is taken
	Port     int      `json:"port,omitempty"`  // the first of the instance's when zero
	Interval Duration `json:"interval,omitzero"`
	Timeout  Duration `json:"timeout,omitzero"`
	Failures int      `json:"failures,omitempty"` // so many in a row take it out; 1 when zero
}

// State is how an instance does.
type State string

// The states. Only a ready instance is found.
const (
	Ready    State = "ready"
	Checking State = "checking" // the first check has not passed yet
	Failing  State = "failing"  // its check fails
	Expired  State = "expired"  // its heartbeats have stopped
	Paused   State = "paused"   // its own heartbeat says that it does not serve
)

// Status is what the cloud knows of an instance.
type Status struct {
	State     State     `json:"state"`
	Since     time.Time `json:"since"`
	Message   string    `json:"message,omitempty"`   // why it is not ready
	Addresses []string  `json:"addresses,omitempty"` // when it is known by a DNS name
	// Expires is when it expires without a heartbeat.
	Expires *time.Time `json:"expires,omitempty"`
}

// Heartbeat is what an instance says of itself. Nothing said is that it serves.
type Heartbeat struct {
	Paused  bool   `json:"paused,omitempty"`
	Message string `json:"message,omitempty"`
}

// Service is a name and the instances behind it.
type Service struct {
	Namespace string     `json:"namespace"`
	Name      string     `json:"name"`
	Address   string     `json:"address,omitempty"` // none of a headless one
	Headless  bool       `json:"headless,omitempty"`
	Ports     []Port     `json:"ports"`
	Instances []Instance `json:"instances"`
}

// Services is a list of services.
type Services struct {
	Items []Service `json:"items"`
}

// Instances is a list of instances.
type Instances struct {
	Items []Instance `json:"items"`
}

// Event says that a service has changed.
type Event struct {
	Type   string  `json:"type"` // ADDED, MODIFIED, DELETED
	Object Service `json:"object"`
}

// ServicePath is where a service is; an empty name gives the collection, an
// empty namespace that of all namespaces.
func ServicePath(namespace, name string) string {
	p := Root
	if namespace != "" {
		p += "/namespaces/" + url.PathEscape(namespace)
	}
	p += "/services"
	if name != "" {
		p += "/" + url.PathEscape(name)
	}
	return p
}

// InstancePath is where an instance is; an empty id gives all of its service.
func InstancePath(namespace, name, id string) string {
	p := ServicePath(namespace, name) + "/instances"
	if id != "" {
		p += "/" + url.PathEscape(id)
	}
	return p
}

// HeartbeatPath is where an instance says that it lives.
func HeartbeatPath(namespace, name, id string) string {
	return ServicePath(namespace, name) + "/heartbeats/" + url.PathEscape(id)
}

// Duration is written as Go writes it: 10s, 1m30s.
type Duration time.Duration

// String is how it is written.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes it as a string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads a string such as "10s". Its error is of the kind to which
// the decoder adds the field's name.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var s string
	err := json.Unmarshal(data, &s)
	if err == nil {
		var v time.Duration
		if v, err = time.ParseDuration(s); err == nil {
			*d = Duration(v)
			return nil
		}
	}
	return &json.UnmarshalTypeError{Value: string(data), Type: reflect.TypeFor[Duration]()}
}
