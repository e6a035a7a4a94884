package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// App is an image with an address: what runs, in how many copies, who reaches
// it, and how its next version is shipped.
//
// An app with ports is reachable as NAME.NAMESPACE.<domain> without being asked.
// It owns ordinary Deployments (one for each live revision), StatefulSets, Jobs
// or CronJobs, Services and an HTTPRoute; look at them with kubectl, change them
// here.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,categories=all
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.scale.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.kind`
// +kubebuilder:printcolumn:name="Image",type=string,JSONPath=`.spec.image`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Copies",type=string,JSONPath=`.status.copies`
// +kubebuilder:printcolumn:name="Live",type=string,JSONPath=`.status.live`
// +kubebuilder:printcolumn:name="Rollout",type=string,JSONPath=`.status.rollout.summary`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.status.url`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="the name of an app is a DNS label of at most 52 characters that begins with a letter"
type App struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What should run and how.
	// +required
	Spec AppSpec `json:"spec"`

	// What runs, written by Sampan.
	// +optional
	Status AppStatus `json:"status,omitempty"`
}

// AppList is a list of apps.
//
// +kubebuilder:object:root=true
type AppList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []App `json:"items"`
}

// Kind says how an app lives.
//
// +kubebuilder:validation:Enum=service;worker;job;cron
type Kind string

// The kinds of apps.
const (
	Service Kind = "service"
	Worker  Kind = "worker"
	Job     Kind = "job"
	Cron    Kind = "cron"
)

// AppSpec is what should run and how.
//
// +kubebuilder:validation:XValidation:rule="self.kind == 'cron' ? has(self.schedule) : !has(self.schedule)",message="an app of kind cron needs a schedule, and only it has one"
// +kubebuilder:validation:XValidation:rule="!has(self.routes) || size(self.routes) == 0 || self.kind == 'service'",message="only an app of kind service has routes"
// +kubebuilder:validation:XValidation:rule="!has(self.routes) || size(self.routes) == 0 || has(self.ports) && size(self.ports) > 0",message="an app with routes needs a port"
// +kubebuilder:validation:XValidation:rule="!has(self.scale) || self.kind == 'service' || self.kind == 'worker'",message="only services and workers scale"
// +kubebuilder:validation:XValidation:rule="!has(self.rollout) || self.kind == 'service' || self.kind == 'worker' || !has(self.rollout.steps)",message="a job or cron is not shipped in steps"
// +kubebuilder:validation:XValidation:rule="!has(self.rollout) || !(self.rollout.strategy in ['canary', 'blueGreen', 'ab']) || self.kind == 'service' && has(self.ports) && size(self.ports) > 0",message="canary, blueGreen and ab need a service with a port"
// +kubebuilder:validation:XValidation:rule="!has(self.perNode) || !self.perNode || self.kind == 'service' || self.kind == 'worker'",message="only services and workers run on every node"
// +kubebuilder:validation:XValidation:rule="!has(self.perNode) || !self.perNode || !has(self.scale)",message="an app with perNode has one copy on each node and does not scale"
// +kubebuilder:validation:XValidation:rule="!has(self.perNode) || !self.perNode || !has(self.rollout) || !(self.rollout.strategy in ['canary', 'blueGreen', 'ab'])",message="an app with perNode ships rolling: two revisions cannot have one place"
// +kubebuilder:validation:XValidation:rule="!has(self.perNode) || !self.perNode || !has(self.volumes) || self.volumes.all(v, !has(v.size) || has(v.shared) && v.shared)",message="an app with perNode has no volumes of its copies' own"
// +kubebuilder:validation:XValidation:rule="!has(self.volumes) || !has(self.rollout) || !(self.rollout.strategy in ['canary', 'blueGreen', 'ab']) || self.volumes.all(v, !has(v.size))",message="an app with a volume of its own ships rolling: two revisions cannot write one volume"
type AppSpec struct {
	// How the app lives. service: runs on and may be reached; worker: runs on
	// and asks for nothing; job: runs once for each revision; cron: runs by
	// its schedule.
	// +kubebuilder:default=service
	// +optional
	Kind Kind `json:"kind,omitempty"`

	// The image, for example registry.local/shop/web:3.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Image string `json:"image"`

	// Names of Secrets with the password of the image's registry.
	// +kubebuilder:validation:MaxItems=16
	// +optional
	PullSecrets []string `json:"pullSecrets,omitempty"`

	// Replaces the image's entrypoint.
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Command []string `json:"command,omitempty"`

	// Replaces the image's arguments.
	// +kubebuilder:validation:MaxItems=1024
	// +optional
	Args []string `json:"args,omitempty"`

	// The directory in which it starts.
	// +optional
	WorkingDir string `json:"workingDir,omitempty"`

	// The user ID as which it runs; the image's own when unset.
	// +kubebuilder:validation:Minimum=0
	// +optional
	User *int64 `json:"user,omitempty"`

	// Environment variables.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Env []EnvVar `json:"env,omitempty"`

	// ConfigMaps and Secrets of which every key becomes an environment variable.
	// +kubebuilder:validation:MaxItems=32
	// +optional
	EnvFrom []EnvFrom `json:"envFrom,omitempty"`

	// Ports on which it listens. The first is the one that routes lead to.
	// +listType=map
	// +listMapKey=port
	// +listMapKey=protocol
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Ports []Port `json:"ports,omitempty"`

	// What one copy needs, and may use at most.
	// +optional
	Resources Resources `json:"resources,omitempty"`

	// When a copy may serve, and when it must be restarted. Without a
	// readiness check, a copy of an app with a TCP port is ready when that
	// port takes connections.
	// +optional
	Health Health `json:"health,omitempty"`

	// Directories that hold data.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Volumes []Volume `json:"volumes,omitempty"`

	// Single files with given content.
	// +listType=map
	// +listMapKey=path
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Files []File `json:"files,omitempty"`

	// What happens when a ConfigMap or Secret that the app names changes.
	// +optional
	Reload Reload `json:"reload,omitempty"`

	// When a cron runs: five fields (minute, hour, day, month, weekday) or @hourly and its like.
	// +kubebuilder:validation:MinLength=1
	// +optional
	Schedule *string `json:"schedule,omitempty"`

	// The time zone of the schedule, for example Asia/Shanghai; UTC when unset.
	// +optional
	TimeZone *string `json:"timeZone,omitempty"`

	// How often a failed job is tried again, and for how long it may run.
	// +optional
	Retry Retry `json:"retry,omitempty"`

	// One copy on each node that nodeSelector chooses (a DaemonSet), instead
	// of a number of copies. A new version replaces them node by node.
	// +optional
	PerNode bool `json:"perNode,omitempty"`

	// How many copies run.
	// +optional
	Scale *Scale `json:"scale,omitempty"`

	// Further addresses under which the app is reached.
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Routes []Route `json:"routes,omitempty"`

	// How the next version is shipped.
	// +optional
	Rollout *Rollout `json:"rollout,omitempty"`

	// Apps of the same namespace that must be ready before this one starts
	// for the first time.
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +optional
	DependsOn []string `json:"dependsOn,omitempty"`

	// How long a copy may take to end after it was told to; 30s when unset.
	// +optional
	StopTimeout *metav1.Duration `json:"stopTimeout,omitempty"`

	// The ServiceAccount whose token a copy gets. Without one it gets no token.
	// +optional
	ServiceAccount string `json:"serviceAccount,omitempty"`

	// Labels that a node must have for a copy to run there.
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
}
