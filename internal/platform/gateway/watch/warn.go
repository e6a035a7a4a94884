package watch

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/translate"
)

// warn writes an event of each warning that was not there before, and returns
// the first failure after having tried all.
func (w *writer) warn(ctx context.Context, now []translate.Warning) error {
	maps.DeleteFunc(w.warned, func(old translate.Warning, _ bool) bool { return !slices.Contains(now, old) })
	var first error
	for _, warning := range now {
		if w.warned[warning] {
			continue
		}
		_, err := w.clients.Kube.CoreV1().Events(warning.Ingress.Namespace).Create(ctx, event(warning), metav1.CreateOptions{})
		switch {
		case err == nil:
			w.log.Warn("an Ingress's certificate cannot serve it", "ingress", warning.Ingress, "reason", warning.Reason, "err", warning.Message)
		case apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
			// Another gateway has said it, or nobody is left to be told.
		default:
			if first == nil {
				first = fmt.Errorf("event of Ingress %s: %w", warning.Ingress, err)
			}
			continue
		}
		w.warned[warning] = true
	}
	return first
}

// event has a name made of what it says: every gateway of a cluster finds the
// same to say, and it is said once.
func event(w translate.Warning) *corev1.Event {
	sum := fnv.New64a()
	fmt.Fprint(sum, w.UID, w.Reason, w.Message)
	name := strings.TrimRight(fmt.Sprintf("%.230s", w.Ingress.Name), ".-") + fmt.Sprintf(".%016x", sum.Sum64())
	now := metav1.Now()
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Ingress.Namespace, Name: name},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "Ingress",
			Namespace: w.Ingress.Namespace, Name: w.Ingress.Name, UID: w.UID,
		},
		Type: corev1.EventTypeWarning, Reason: w.Reason, Message: w.Message,
		Source:         corev1.EventSource{Component: "sampan-gateway"},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
}
