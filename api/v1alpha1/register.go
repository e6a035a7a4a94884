package v1alpha1

import (
	_ "embed"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of everything in this package.
const Group = "apps.sampan.dev"

// GroupVersion is the group with its version.
var GroupVersion = schema.GroupVersion{Group: Group, Version: "v1alpha1"}

//go:embed crd/apps.sampan.dev_apps.yaml
var definition []byte

// Definition is the CustomResourceDefinition of App, as YAML.
func Definition() []byte { return definition }

// AddToScheme makes the types known to s.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &App{}, &AppList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
