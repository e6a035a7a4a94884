package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Route is an address under which an app is reached.
type Route struct {
	// The host name, for example shop.example.org or *.example.org; the app's
	// own (NAME.NAMESPACE.<domain>) when unset.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// +optional
	Host string `json:"host,omitempty"`
	// Paths that begin with this; all when unset.
	// +kubebuilder:validation:Pattern=`^/`
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Path string `json:"path,omitempty"`
	// Only this path and none below it.
	// +optional
	Exact bool `json:"exact,omitempty"`
	// What replaces path before the app sees the request, for example /.
	// +kubebuilder:validation:Pattern=`^/`
	// +optional
	Rewrite string `json:"rewrite,omitempty"`
	// Only requests like these.
	// +optional
	Match RouteMatch `json:"match,omitempty"`
	// The name or number of the app's port; its first when unset.
	// +optional
	Port string `json:"port,omitempty"`
	// How long a request may take; no limit when unset.
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// RouteMatch limits a route to some requests. All that is given must hold.
type RouteMatch struct {
	// Headers with these values.
	// +optional
	Headers map[string]string `json:"headers,omitempty"`
	// Query parameters with these values.
	// +optional
	Query map[string]string `json:"query,omitempty"`
	// One of these methods.
	// +kubebuilder:validation:MaxItems=8
	// +optional
	Methods []string `json:"methods,omitempty"`
}

// Retry is how often a failed job is tried again and how long it may run.
type Retry struct {
	// How often a failed copy is started again; 3 when unset.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Limit *int32 `json:"limit,omitempty"`
	// How long it may run in all.
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// Whether a cron run may begin while the one before it still runs:
	// Forbid (the default), Allow, or Replace.
	// +kubebuilder:validation:Enum=Allow;Forbid;Replace
	// +optional
	Overlap string `json:"overlap,omitempty"`
}
