package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Scale says how many copies run.
//
// Who decides: with replicas set, that number, whoever wrote it (a person,
// `kubectl scale app`, or a HorizontalPodAutoscaler whose target is the App).
// Otherwise Sampan decides every second between min and max. A number written
// into a Deployment that an App owns is taken back within a second.
//
// +kubebuilder:validation:XValidation:rule="!has(self.min) || !has(self.max) || self.min <= self.max",message="min is greater than max"
type Scale struct {
	// Exactly so many copies; min, max and metrics then have no effect.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`

	// At least so many. 0 when unset for a service with an HTTP port and no
	// volume of its own: it sleeps when nobody asks, and the first request
	// wakes it. 1 for all others.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Min *int32 `json:"min,omitempty"`

	// At most so many; 10 when unset, or min if that is more.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	// +optional
	Max *int32 `json:"max,omitempty"`

	// What the number follows. The one that asks for most copies counts.
	// inFlight with a target of 20 when unset, for a service with an HTTP port.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=6
	// +optional
	Metrics []Metric `json:"metrics,omitempty"`

	// Times at which other limits hold.
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Schedule []Window `json:"schedule,omitempty"`

	// How long nobody must have asked before the last copy goes; 5m when unset.
	// +optional
	Idle *metav1.Duration `json:"idle,omitempty"`

	// How long fewer copies must have been enough before the number falls;
	// 30s when unset. It rises at once.
	// +optional
	Stabilisation *metav1.Duration `json:"stabilisation,omitempty"`
}

// MetricType is what the number of copies follows.
//
// +kubebuilder:validation:Enum=inFlight;rps;latency;cpu;memory;http
type MetricType string

// The metrics.
const (
	InFlight MetricType = "inFlight" // requests being answered now, held ones included
	RPS      MetricType = "rps"      // requests a second
	Latency  MetricType = "latency"  // the 90th percentile of the answers' time
	CPU      MetricType = "cpu"
	Memory   MetricType = "memory"
	External MetricType = "http" // a number that a URL answers with
)

// Metric is one thing that the number of copies follows.
//
// +kubebuilder:validation:XValidation:rule="(self.type == 'http') == has(self.url)",message="url goes with type http, and type http needs it"
// +kubebuilder:validation:XValidation:rule="!has(self.query) && !has(self.field) || self.type == 'http'",message="query and field go with type http"
type Metric struct {
	// What is measured.
	Type MetricType `json:"type"`

	// How much of it one copy should have: a number (inFlight, rps, http), a
	// duration (latency, for example 250ms), processors or bytes (cpu: 500m,
	// memory: 200Mi), or a share of what a copy asks for (cpu, memory: 70%).
	// +kubebuilder:validation:XIntOrString
	Target intstr.IntOrString `json:"target"`

	// Answers with a number, with JSON that contains one, or, with query, as
	// Prometheus does.
	// +kubebuilder:validation:Pattern=`^https?://`
	// +optional
	URL string `json:"url,omitempty"`

	// A PromQL query, asked of url + /api/v1/query.
	// +optional
	Query string `json:"query,omitempty"`

	// Where the number is in the JSON, for example queue.length.
	// +optional
	Field string `json:"field,omitempty"`
}

// Window is a time that comes again, with limits of its own.
type Window struct {
	// When it begins: five fields as in cron.
	// +kubebuilder:validation:MinLength=1
	Start string `json:"start"`
	// How long it lasts.
	Duration metav1.Duration `json:"duration"`
	// The time zone of start; UTC when unset.
	// +optional
	TimeZone string `json:"timeZone,omitempty"`
	// At least so many copies in it.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Min *int32 `json:"min,omitempty"`
	// At most so many copies in it.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Max *int32 `json:"max,omitempty"`
}
