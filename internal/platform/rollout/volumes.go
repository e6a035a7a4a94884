package rollout

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// lookAtVolumes finds out why a volume that copies wait for is not there. A pod
// says nothing of it: only the claim's events do, which are read while a copy
// waits and a claim is not bound.
func (p *pass) lookAtVolumes(ctx context.Context) error {
	if !p.waitsForNode() {
		return nil
	}
	var claims corev1.PersistentVolumeClaimList
	if err := p.List(ctx, &claims, owned(p.app)...); err != nil {
		return err
	}
	for i := range claims.Items {
		c := &claims.Items[i]
		if c.Status.Phase == corev1.ClaimBound {
			continue
		}
		why, err := p.lastWarning(ctx, c)
		if err != nil {
			return err
		}
		if why != "" {
			p.volumeFault = fmt.Sprintf("the volume %s cannot be made: %s", strings.TrimPrefix(c.Name, p.app.Name+"-"), why)
			return nil
		}
	}
	return nil
}

// waitsForNode says whether a copy has not come as far as having containers.
func (p *pass) waitsForNode() bool {
	for i := range p.pods {
		if waitsForNode(&p.pods[i]) {
			return true
		}
	}
	return false
}

func waitsForNode(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed &&
		len(pod.Status.ContainerStatuses) == 0
}

// indexAbout is the field by which the events about an object are found.
const indexAbout = "involvedObject.uid"

// lastWarning is the newest warning about a claim.
func (p *pass) lastWarning(ctx context.Context, c *corev1.PersistentVolumeClaim) (string, error) {
	var events corev1.EventList
	if err := p.direct.List(ctx, &events, client.InNamespace(c.Namespace), client.MatchingFields{indexAbout: string(c.UID)}); err != nil {
		return "", err
	}
	var last *corev1.Event
	for i := range events.Items {
		e := &events.Items[i]
		if e.Type == corev1.EventTypeWarning && (last == nil || last.LastTimestamp.Before(&e.LastTimestamp)) {
			last = e
		}
	}
	if last == nil {
		return "", nil
	}
	return last.Message, nil
}
