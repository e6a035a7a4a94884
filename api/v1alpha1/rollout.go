package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Strategy is how the next version gets its traffic.
//
// +kubebuilder:validation:Enum=rolling;blueGreen;canary;ab
type Strategy string

// The strategies.
const (
	Rolling   Strategy = "rolling"   // copy by copy
	BlueGreen Strategy = "blueGreen" // all copies first, then all traffic at once
	Canary    Strategy = "canary"    // a share of the traffic, growing in steps
	AB        Strategy = "ab"        // those requests that match, until promoted
)

// Rollout is how the next version is shipped. In every strategy a copy gets
// requests only when it is ready, and loses them before it is stopped.
//
// +kubebuilder:validation:XValidation:rule="self.strategy != 'ab' || has(self.match)",message="ab needs match: which requests get the new version"
// +kubebuilder:validation:XValidation:rule="!has(self.steps) || size(self.steps) == 0 || self.strategy == 'canary' || self.strategy == 'blueGreen'",message="steps go with canary and blueGreen"
type Rollout struct {
	// rolling: copy by copy. blueGreen: all new copies first, then all traffic
	// at once. canary: a growing share of the traffic. ab: the requests that
	// match get the new version, until it is promoted or aborted.
	// +kubebuilder:default=rolling
	// +optional
	Strategy Strategy `json:"strategy,omitempty"`

	// The steps of a canary: 10, 25, 50 % with 30s each when unset. All the
	// traffic follows after the last. For blueGreen one step with weight 0
	// and a manual pause shows the new version to those who match only.
	// +kubebuilder:validation:MaxItems=20
	// +optional
	Steps []Step `json:"steps,omitempty"`

	// Which requests get the new version whatever the weight.
	// +optional
	Match *RolloutMatch `json:"match,omitempty"`

	// Whether a client stays with the version that it got first (by a cookie).
	// +optional
	Sticky bool `json:"sticky,omitempty"`

	// When a version is bad. Counted by the gateway; a bad version is taken
	// back by itself.
	// +optional
	Judge *Judge `json:"judge,omitempty"`

	// How long a new version may take to have ready copies before it is
	// taken back; 10m when unset.
	// +optional
	Deadline *metav1.Duration `json:"deadline,omitempty"`

	// How long the old version keeps its copies after the new one has all the
	// traffic, so that it can be taken back at once; the judge's window when unset.
	// +optional
	Keep *metav1.Duration `json:"keep,omitempty"`
}

// Step is one step of a rollout.
type Step struct {
	// The share of the requests, in percent.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Weight int32 `json:"weight"`
	// How long to stay: a duration, or manual to wait for promote or resume.
	// +kubebuilder:validation:Pattern=`^(manual|([0-9]+(\.[0-9]+)?(ms|s|m|h))+|0)$`
	// +kubebuilder:default="30s"
	// +optional
	Pause string `json:"pause,omitempty"`
}

// RolloutMatch chooses requests: exactly one of its fields.
//
// +kubebuilder:validation:XValidation:rule="(has(self.header)?1:0) + (has(self.cookie)?1:0) + (has(self.query)?1:0) == 1",message="give exactly one of header, cookie and query"
type RolloutMatch struct {
	// A header with this value.
	// +optional
	Header *NameValue `json:"header,omitempty"`
	// A cookie with this value.
	// +optional
	Cookie *NameValue `json:"cookie,omitempty"`
	// A query parameter with this value.
	// +optional
	Query *NameValue `json:"query,omitempty"`
}

// NameValue is a name and the value it must have.
type NameValue struct {
	// The name.
	// +kubebuilder:validation:Pattern="^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
	Name string `json:"name"`
	// The value.
	// +kubebuilder:validation:MaxLength=1024
	Value string `json:"value"`
}

// Judge says when a version is bad.
type Judge struct {
	// Does not judge; only readiness counts.
	// +optional
	Off bool `json:"off,omitempty"`
	// The least share of requests, in percent, that must not fail (an answer
	// of 5xx or none); 95 when unset. A version is not blamed when the old
	// one fails as much.
	// +kubebuilder:validation:Pattern=`^(100|[0-9]{1,2}(\.[0-9]+)?)%?$`
	// +optional
	SuccessRate string `json:"successRate,omitempty"`
	// The longest time that 99 of 100 requests may take. Not judged when unset.
	// +optional
	LatencyP99 *metav1.Duration `json:"latencyP99,omitempty"`
	// Fewer requests than this say nothing; 10 when unset.
	// +kubebuilder:validation:Minimum=1
	// +optional
	MinRequests int32 `json:"minRequests,omitempty"`
	// The time over which requests are counted; 5s when unset.
	// +optional
	Window *metav1.Duration `json:"window,omitempty"`
	// Numbers that must stay between limits. They are asked for every two
	// seconds while a version is shipped. One that cannot be asked for stops
	// the rollout where it is; one that has no data yet says nothing.
	// +kubebuilder:validation:MaxItems=8
	// +optional
	Metrics []JudgeMetric `json:"metrics,omitempty"`
}

// JudgeMetric is a number by which a version is judged.
//
// +kubebuilder:validation:XValidation:rule="has(self.min) || has(self.max)",message="give min, max or both"
type JudgeMetric struct {
	// What it is called in messages; the query, or the URL, when unset.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Name string `json:"name,omitempty"`
	// Answers with a number, with JSON that contains one, or, with query, as
	// Prometheus does. In url and query, $(NAMESPACE), $(APP), $(REVISION) and
	// $(SERVICE) stand for those of the version that is shipped.
	// +kubebuilder:validation:Pattern=`^https?://`
	URL string `json:"url"`
	// A PromQL query, asked of url + /api/v1/query.
	// +optional
	Query string `json:"query,omitempty"`
	// Where the number is in the JSON, for example errors.rate.
	// +optional
	Field string `json:"field,omitempty"`
	// The least that is good.
	// +kubebuilder:validation:Pattern=`^-?[0-9]+(\.[0-9]+)?$`
	// +optional
	Min string `json:"min,omitempty"`
	// The most that is good.
	// +kubebuilder:validation:Pattern=`^-?[0-9]+(\.[0-9]+)?$`
	// +optional
	Max string `json:"max,omitempty"`
}
