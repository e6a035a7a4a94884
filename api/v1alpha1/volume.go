package v1alpha1

import "k8s.io/apimachinery/pkg/api/resource"

// Volume is a directory that holds data.
//
// With size, every copy gets one of its own, which stays when the copy is
// replaced (the app becomes a StatefulSet). With size and shared, all copies
// share one. With claim, an existing PersistentVolumeClaim is used. Without any
// of them it is empty at each start.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.claim) && has(self.size))",message="give size or claim, not both"
// +kubebuilder:validation:XValidation:rule="!has(self.shared) || !self.shared || has(self.size)",message="shared needs a size"
type Volume struct {
	// The volume's name.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=40
	Name string `json:"name"`
	// Where it is seen in the copy.
	// +kubebuilder:validation:Pattern=`^/`
	Path string `json:"path"`
	// How much it holds, for example 10Gi.
	// +optional
	Size *resource.Quantity `json:"size,omitempty"`
	// One volume for all copies instead of one each.
	// +optional
	Shared bool `json:"shared,omitempty"`
	// The StorageClass; the cluster's default when unset.
	// +optional
	StorageClass *string `json:"storageClass,omitempty"`
	// An existing PersistentVolumeClaim.
	// +optional
	Claim string `json:"claim,omitempty"`
	// Keeps an empty volume in memory.
	// +optional
	Memory bool `json:"memory,omitempty"`
	// Whether the copy may only read it.
	// +optional
	ReadOnly bool `json:"readOnly,omitempty"`
}

// File is one file with given content: exactly one of content, configMap and secret.
//
// +kubebuilder:validation:XValidation:rule="(has(self.content)?1:0) + (has(self.configMap)?1:0) + (has(self.secret)?1:0) == 1",message="give exactly one of content, configMap and secret"
type File struct {
	// Where the file is in the copy. With reload: file or signal, the whole
	// directory is the app's configuration and holds nothing else, because
	// that is how it is replaced in one step.
	// +kubebuilder:validation:Pattern=`^/.*[^/]$`
	Path string `json:"path"`
	// The content itself.
	// +optional
	Content *string `json:"content,omitempty"`
	// A key of a ConfigMap.
	// +optional
	ConfigMap *KeyRef `json:"configMap,omitempty"`
	// A key of a Secret.
	// +optional
	Secret *KeyRef `json:"secret,omitempty"`
	// Its permissions; 0644 when unset.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=511
	// +optional
	Mode *int32 `json:"mode,omitempty"`
}

// Reload says what happens when a ConfigMap or Secret that the app names changes.
//
// +kubebuilder:validation:XValidation:rule="!has(self.signal) || self.how == 'signal'",message="signal goes with how: signal"
type Reload struct {
	// restart ships a new revision. file changes the mounted files in place
	// and leaves the copy alone. signal does that and sends a signal to the
	// copy's first process. Environment variables cannot change in a running
	// process: a change of theirs always ships a new revision.
	// +kubebuilder:validation:Enum=restart;file;signal
	// +kubebuilder:default=restart
	// +optional
	How string `json:"how,omitempty"`
	// The signal, for example HUP.
	// +kubebuilder:validation:Enum=HUP;USR1;USR2;WINCH;TERM
	// +optional
	Signal string `json:"signal,omitempty"`
}
