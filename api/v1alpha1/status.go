package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AppStatus is what runs.
type AppStatus struct {
	// The generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// The first address under which the app is reached.
	// +optional
	URL string `json:"url,omitempty"`
	// All host names that are the app's.
	// +optional
	Hosts []string `json:"hosts,omitempty"`
	// The revision that serves, for example r3.
	// +optional
	Live string `json:"live,omitempty"`
	// Whether a copy of the live revision has ever been ready.
	// +optional
	Proven bool `json:"proven,omitempty"`
	// The revisions that have copies or traffic.
	// +listType=map
	// +listMapKey=name
	// +optional
	Revisions []RevisionStatus `json:"revisions,omitempty"`
	// The rollout that is under way, or how the last one ended.
	// +optional
	Rollout *RolloutStatus `json:"rollout,omitempty"`
	// The number of the newest version of its configuration: of its own, and of
	// the ConfigMaps and Secrets that it names.
	// +optional
	Config int64 `json:"config,omitempty"`
	// The number of the version with which the live revision runs.
	// +optional
	LiveConfig int64 `json:"liveConfig,omitempty"`
	// Keeps a revision live that was rolled back to although the ConfigMaps
	// and Secrets it names have changed since.
	// +optional
	Pinned *Pin `json:"pinned,omitempty"`
	// What came of the last command.
	// +optional
	Command *CommandStatus `json:"command,omitempty"`
	// Copies that exist.
	// +optional
	Replicas int32 `json:"replicas"`
	// Copies that are ready.
	// +optional
	Ready int32 `json:"ready"`
	// Ready and wanted copies, for people, for example 2/3.
	// +optional
	Copies string `json:"copies,omitempty"`
	// Why there are so many.
	// +optional
	ScaleReason string `json:"scaleReason,omitempty"`
	// Selects the app's pods.
	// +optional
	Selector string `json:"selector,omitempty"`
	// Ready, Progressing, Degraded, RouteConflict.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// RevisionStatus is how one revision does.
type RevisionStatus struct {
	// For example r3.
	Name string `json:"name"`
	// The image with its digest, once known.
	// +optional
	Image string `json:"image,omitempty"`
	// The share of the traffic, in percent.
	Weight int32 `json:"weight"`
	// Copies that are wanted.
	Replicas int32 `json:"replicas"`
	// Copies that are ready.
	Ready int32 `json:"ready"`
	// live, new, or leaving.
	Role string `json:"role"`
}

// Phase is how far a rollout is.
type Phase string

// The phases of a rollout.
const (
	PhaseStarting  Phase = "Starting"  // waits for ready copies of the new revision
	PhaseWatching  Phase = "Watching"  // has given it traffic and watches
	PhaseDone      Phase = "Done"      // the new revision is live
	PhaseTakenBack Phase = "TakenBack" // the old revision has stayed
)

// RolloutStatus is one rollout.
type RolloutStatus struct {
	// The revision being shipped.
	Revision string `json:"revision"`
	// The revision that was live before.
	// +optional
	From string `json:"from,omitempty"`
	// Starting, Watching, Done or TakenBack.
	Phase Phase `json:"phase"`
	// Whether it goes back to an earlier revision, which needs no steps.
	// +optional
	Rollback bool `json:"rollback,omitempty"`
	// The step, from 0.
	// +optional
	Step int32 `json:"step"`
	// The share of the new revision, in percent.
	Weight int32 `json:"weight"`
	// Since when it is in this phase of this step.
	Since metav1.MicroTime `json:"since"`
	// When it began.
	Began metav1.MicroTime `json:"began"`
	// Who has paused it: user, step or judge.
	// +optional
	Paused string `json:"paused,omitempty"`
	// Why.
	// +optional
	Message string `json:"message,omitempty"`
	// One word or two for people.
	// +optional
	Summary string `json:"summary,omitempty"`
}

// Pin keeps a revision live while what is asked for stays the same.
type Pin struct {
	// The revision.
	Revision string `json:"revision"`
	// The hash of what was asked for, with its configuration.
	Hash string `json:"hash"`
}

// CommandStatus is what came of a command.
type CommandStatus struct {
	// The command's ID.
	ID string `json:"id"`
	// What it asked for.
	Verb string `json:"verb"`
	// Whether it was done.
	Done bool `json:"done"`
	// What was done, or why not.
	// +optional
	Message string `json:"message,omitempty"`
}
