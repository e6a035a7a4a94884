package kube

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/kubernetes"
)

// signed is a further admission step: it writes down who has made what is
// called "signed".
type signed struct{}

func (signed) Handles(o admission.Operation) bool { return o == admission.Create }

func (signed) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	o, err := meta.Accessor(a.GetObject())
	if err == nil && o.GetName() == "signed" {
		o.SetAnnotations(map[string]string{"by": a.GetUserInfo().GetName()})
	}
	return err
}

func testAdmission(t *testing.T, client *kubernetes.Clientset) {
	made, err := client.CoreV1().ConfigMaps("default").Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "signed", Annotations: map[string]string{"by": "mallory"}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if by := made.Annotations["by"]; by != "admin" {
		t.Errorf("made by %q, want what the server knows: admin", by)
	}
}
