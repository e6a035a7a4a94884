package watch

import (
	"log/slog"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/translate"
)

func TestAWarningIsSaidOnceByAllGateways(t *testing.T) {
	kube := fake.NewClientset()
	var log strings.Builder
	warning := translate.Warning{Ingress: types.NamespacedName{Namespace: "shop", Name: "web"}, UID: "u", Reason: "CertificateMismatch", Message: "not b.test"}
	for range 2 { // gateways
		w := newWriter(Clients{Kube: kube}, known{}, slog.New(slog.NewTextHandler(&log, nil)))
		for _, now := range [][]translate.Warning{{warning}, {warning}, nil} {
			if err := w.warn(t.Context(), now); err != nil {
				t.Fatal(err)
			}
		}
		if len(w.warned) != 0 {
			t.Errorf("still warned of %v; want nothing when all is well", w.warned)
		}
	}
	events, err := kube.CoreV1().Events("shop").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(events.Items) != 1 {
		t.Fatalf("%d events, %v; want one", len(events.Items), err)
	}
	e := events.Items[0]
	if e.Type != corev1.EventTypeWarning || e.Reason != warning.Reason || e.Message != warning.Message || e.InvolvedObject.Kind != "Ingress" || e.InvolvedObject.Name != "web" || e.InvolvedObject.UID != "u" {
		t.Errorf("event = %+v; want a warning of the Ingress", e)
	}
	if n := strings.Count(log.String(), "not b.test"); n != 1 {
		t.Errorf("logged %d times; want once", n)
	}
}
