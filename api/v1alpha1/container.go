package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// EnvVar is one environment variable: a value, or where it comes from.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.value) && has(self.from))",message="give value or from, not both"
type EnvVar struct {
	// The variable's name.
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z][-._a-zA-Z0-9]*$`
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`

	// Its value.
	// +optional
	Value string `json:"value,omitempty"`

	// Where its value comes from.
	// +optional
	From *EnvSource `json:"from,omitempty"`
}

// EnvSource is where a value comes from: exactly one of its fields.
//
// +kubebuilder:validation:XValidation:rule="(has(self.configMap)?1:0) + (has(self.secret)?1:0) + (has(self.app)?1:0) == 1",message="give exactly one of configMap, secret and app"
type EnvSource struct {
	// A key of a ConfigMap.
	// +optional
	ConfigMap *KeyRef `json:"configMap,omitempty"`
	// A key of a Secret.
	// +optional
	Secret *KeyRef `json:"secret,omitempty"`
	// The address of another app in this namespace.
	// +optional
	App *AppRef `json:"app,omitempty"`
}

// KeyRef is a key of a ConfigMap or Secret of the same namespace.
type KeyRef struct {
	// The ConfigMap's or Secret's name.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// The key in it.
	// +kubebuilder:validation:MinLength=1
	Key string `json:"key"`
	// Whether it may be missing.
	// +optional
	Optional bool `json:"optional,omitempty"`
}

// AppRef is another app's address.
type AppRef struct {
	// The other app's name.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// The name or number of one of its ports; its first when unset.
	// +optional
	Port string `json:"port,omitempty"`
	// What of the address: url (http://NAME.NAMESPACE:PORT), host, port, or address (host:port).
	// +kubebuilder:validation:Enum=url;host;port;address
	// +kubebuilder:default=url
	// +optional
	Property string `json:"property,omitempty"`
}

// EnvFrom takes every key of a ConfigMap or Secret.
//
// +kubebuilder:validation:XValidation:rule="has(self.configMap) != has(self.secret)",message="give exactly one of configMap and secret"
type EnvFrom struct {
	// A ConfigMap's name.
	// +optional
	ConfigMap string `json:"configMap,omitempty"`
	// A Secret's name.
	// +optional
	Secret string `json:"secret,omitempty"`
	// Goes in front of each key.
	// +optional
	Prefix string `json:"prefix,omitempty"`
}

// Port is one port on which an app listens.
type Port struct {
	// Its name; p and the number when unset.
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +optional
	Name string `json:"name,omitempty"`
	// Its number, in the copy and at the app's address.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
	// What is spoken on it. HTTP (the default), H2C, GRPC and TCP are all TCP
	// underneath; a gateway needs to know which.
	// +kubebuilder:validation:Enum=HTTP;H2C;GRPC;TCP;UDP
	// +kubebuilder:default=HTTP
	// +optional
	Protocol Protocol `json:"protocol,omitempty"`
}

// Protocol is what is spoken on a port.
type Protocol string

// The protocols.
const (
	HTTP Protocol = "HTTP"
	H2C  Protocol = "H2C"
	GRPC Protocol = "GRPC"
	TCP  Protocol = "TCP"
	UDP  Protocol = "UDP"
)

// Resources is what one copy needs and what it may use.
type Resources struct {
	// Processors that one copy needs, for example 250m or 2.
	// +optional
	CPU *resource.Quantity `json:"cpu,omitempty"`
	// Memory that one copy needs, for example 128Mi.
	// +optional
	Memory *resource.Quantity `json:"memory,omitempty"`
	// Devices and other resources that one copy needs, for example vendor.example/gpu: 1.
	// +optional
	Other map[string]resource.Quantity `json:"other,omitempty"`
	// What one copy may use at most.
	// +optional
	Limits Limits `json:"limits,omitempty"`
}

// Limits is what one copy may use at most.
type Limits struct {
	// Processors; it runs slower when it wants more.
	// +optional
	CPU *resource.Quantity `json:"cpu,omitempty"`
	// Memory; it is killed when it takes more.
	// +optional
	Memory *resource.Quantity `json:"memory,omitempty"`
}

// Health is how Sampan knows that a copy is well.
type Health struct {
	// When it may serve. A copy that fails gets no new requests.
	// +optional
	Readiness *Check `json:"readiness,omitempty"`
	// When it must be restarted.
	// +optional
	Liveness *Check `json:"liveness,omitempty"`
	// Until this succeeds once, the other two wait.
	// +optional
	Startup *Check `json:"startup,omitempty"`
}

// Check asks a copy how it is: by exactly one of http, tcp, grpc and exec.
//
// +kubebuilder:validation:XValidation:rule="(has(self.http)?1:0) + (has(self.tcp)?1:0) + (has(self.grpc)?1:0) + (has(self.exec)?1:0) == 1",message="give exactly one of http, tcp, grpc and exec"
type Check struct {
	// A GET that answers 200 to 399.
	// +optional
	HTTP *HTTPCheck `json:"http,omitempty"`
	// A port that takes connections.
	// +optional
	TCP *PortCheck `json:"tcp,omitempty"`
	// A port that answers the gRPC health protocol.
	// +optional
	GRPC *PortCheck `json:"grpc,omitempty"`
	// A command that ends with 0.
	// +optional
	Exec *ExecCheck `json:"exec,omitempty"`

	// How long after its start the first check is made.
	// +optional
	Delay *metav1.Duration `json:"delay,omitempty"`
	// How often; every second when unset (10s for liveness).
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`
	// How long the answer may take; 1s when unset.
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// How many failures in a row count; 3 when unset (60 for startup).
	// +kubebuilder:validation:Minimum=1
	// +optional
	Failures int32 `json:"failures,omitempty"`
}

// HTTPCheck is a GET request.
type HTTPCheck struct {
	// The path.
	// +kubebuilder:default="/"
	// +optional
	Path string `json:"path,omitempty"`
	// The port; the app's first when unset.
	// +optional
	Port int32 `json:"port,omitempty"`
	// Headers sent with it.
	// +optional
	Headers map[string]string `json:"headers,omitempty"`
}

// PortCheck is a port to connect to.
type PortCheck struct {
	// The port; the app's first when unset.
	// +optional
	Port int32 `json:"port,omitempty"`
}

// ExecCheck is a command run in the copy.
type ExecCheck struct {
	// The command and its arguments.
	// +kubebuilder:validation:MinItems=1
	Command []string `json:"command"`
}
