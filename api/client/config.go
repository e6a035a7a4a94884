package client

// What of an app's configuration the API keeps; see api/v1alpha1.
const (
	LabelConfig          = "apps.sampan.dev/config"
	LabelConfigVersion   = "apps.sampan.dev/config-version"
	AnnotationConfigKeys = "apps.sampan.dev/config-keys"
	AnnotationChangedBy  = "apps.sampan.dev/changed-by"
	AnnotationChanges    = "apps.sampan.dev/changes"
	AnnotationCause      = "kubernetes.io/change-cause"
	SecretTypeConfig     = "apps.sampan.dev/config"
)

// ConfigName is the name of the Secret that is an app's own configuration.
func ConfigName(app string) string { return app + "-config" }

// ConfigMap is what is read of a ConfigMap.
type ConfigMap struct {
	Meta       `json:"metadata"`
	Data       map[string]string `json:"data"`
	BinaryData map[string][]byte `json:"binaryData"`
}

// Secret is what is read of a Secret.
type Secret struct {
	Meta `json:"metadata"`
	Data map[string][]byte `json:"data"`
}

// ConfigKey says what a key of an app's own configuration is: a file when it has
// a path, else a variable; secret unless it is plain.
type ConfigKey struct {
	Path  string `json:"path,omitempty"`
	Plain bool   `json:"plain,omitempty"`
}

// ConfigVersion is a version of an app's configuration. It is kept in a
// ControllerRevision with LabelConfigVersion.
type ConfigVersion struct {
	Meta `json:"metadata"`
	Data struct {
		Number  int64          `json:"number"`
		By      string         `json:"by"`
		Cause   string         `json:"cause"`
		Sources []ConfigSource `json:"sources"`
	} `json:"data"`
}

// ConfigSource is one ConfigMap or Secret as it was in a version.
type ConfigSource struct {
	Kind, Name, Copy, Digest, ResourceVersion string
	Own                                       bool
	Changes                                   int64 // how often it had been changed
	Values                                    []ConfigValue
}

// ConfigValue is one value. Text is it when Whole; a value that is secret, long
// or no text is in the source's copy only.
type ConfigValue struct {
	Key, Path, Text, Digest string
	Secret, Whole           bool
	Size                    int64
}
