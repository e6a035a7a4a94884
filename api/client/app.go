package client

import "time"

// LabelApp is on everything that belongs to an App, with the App's name.
const LabelApp = "apps.sampan.dev/app"

// LabelRevision is the revision that it belongs to.
const LabelRevision = "apps.sampan.dev/revision"

// AnnotationCommand on an App asks for something once: VERB[:ARGUMENT]#ID.
const AnnotationCommand = "apps.sampan.dev/command"

// AppVersion is the API version of apps.
const AppVersion = "apps.sampan.dev/v1alpha1"

// App is what is read of an App.
type App struct {
	Meta `json:"metadata"`
	Spec struct {
		Kind     string
		Image    string
		Schedule string
		Scale    *struct {
			Replicas, Min, Max *int
		}
		Rollout *struct {
			Strategy string
			Steps    []struct{ Weight int }
		}
	}
	Status AppStatus
}

// AppStatus is what is read of an App's status.
type AppStatus struct {
	ObservedGeneration int64
	URL                string
	Hosts              []string
	Live               string
	Config, LiveConfig int64 // versions of its configuration: the newest, and that of the live revision
	Proven             bool
	Revisions          []AppRevision
	Rollout            *AppRollout
	Command            *AppCommand
	Replicas, Ready    int
	Copies             string
	ScaleReason        string
	Conditions         []Condition
}

// AppRevision is a revision that has copies or traffic.
type AppRevision struct {
	Name, Image, Role       string
	Weight, Replicas, Ready int
}

// AppRollout is a rollout that is under way, or how the last one ended.
type AppRollout struct {
	Revision, From, Phase    string
	Step, Weight             int
	Since, Began             time.Time
	Paused, Message, Summary string
}

// AppCommand is what came of a command.
type AppCommand struct {
	ID, Verb, Message string
	Done              bool
}

// Condition is the app's condition of that type, or the zero value.
func (a *App) Condition(kind string) Condition {
	for _, c := range a.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return Condition{}
}

// KeptRevision is what is read of a ControllerRevision that keeps an app's
// revision.
type KeptRevision struct {
	Meta     `json:"metadata"`
	Revision int64
	Data     struct {
		Name    string
		Spec    struct{ Image string }
		Version int64 // of the configuration with which it was made
	}
}

// Image is what its copies run: by digest, once one of them has run.
func (r *KeptRevision) Image() string {
	if digest := r.Annotations["apps.sampan.dev/image"]; digest != "" {
		return digest
	}
	return r.Data.Spec.Image
}

// AppPath is where an app is; an empty name gives the collection, an empty
// namespace that of all namespaces.
func AppPath(ns, name string) string { return path("/apis/"+AppVersion, ns, "apps", name) }

// RevisionPath is where the revisions of a namespace's apps are kept.
func RevisionPath(ns, name string) string {
	return path("/apis/apps/v1", ns, "controllerrevisions", name)
}

// ConfigMapPath, SecretPath and ClaimPath are where what apps name is.
func ConfigMapPath(ns, name string) string { return path("/api/v1", ns, "configmaps", name) }

// SecretPath is the path of a secret.
func SecretPath(ns, name string) string { return path("/api/v1", ns, "secrets", name) }

// ClaimPath is the path of a PersistentVolumeClaim.
func ClaimPath(ns, name string) string {
	return path("/api/v1", ns, "persistentvolumeclaims", name)
}

// EndpointSlicePath is where a namespace's EndpointSlices are.
func EndpointSlicePath(ns, name string) string {
	return path("/apis/discovery.k8s.io/v1", ns, "endpointslices", name)
}
