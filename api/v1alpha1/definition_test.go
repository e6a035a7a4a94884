package v1alpha1

import (
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

func parsed(t *testing.T) apiextensions.CustomResourceDefinition {
	t.Helper()
	var d apiextensions.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(Definition(), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDefinitionIsOfThisVersion(t *testing.T) {
	d := parsed(t)
	v := d.Spec.Versions[0]
	if d.Spec.Group != Group || v.Name != GroupVersion.Version || d.Spec.Names.Kind != "App" {
		t.Errorf("the definition is of %s/%s %s", d.Spec.Group, v.Name, d.Spec.Names.Kind)
	}
	if v.Subresources == nil || v.Subresources.Status == nil || v.Subresources.Scale.SpecReplicasPath != ".spec.scale.replicas" {
		t.Errorf("subresources = %+v, want status, and scale for kubectl scale and the HPA", v.Subresources)
	}
}

func TestKubectlExplainHasAWordForEveryField(t *testing.T) {
	var walk func(path string, s apiextensions.JSONSchemaProps)
	walk = func(path string, s apiextensions.JSONSchemaProps) {
		for name, p := range s.Properties {
			at := path + "." + name
			if p.Description == "" && at != ".metadata" {
				t.Errorf("%s has no description", at)
			}
			walk(at, p)
			if p.Items != nil && p.Items.Schema != nil {
				walk(at, *p.Items.Schema)
			}
		}
	}
	walk("", *parsed(t).Spec.Versions[0].Schema.OpenAPIV3Schema)
}
