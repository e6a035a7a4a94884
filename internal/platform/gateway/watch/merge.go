package watch

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway"
)

// merge returns conditions with the times at which they came to be so: those
// that have not changed keep theirs.
func merge(have, want []metav1.Condition) []metav1.Condition {
	out := slices.Clone(want)
	for i := range out {
		c := &out[i]
		c.LastTransitionTime = metav1.Now().Rfc3339Copy()
		for _, h := range have {
			if h.Type == c.Type && h.Status == c.Status {
				c.LastTransitionTime = h.LastTransitionTime
			}
		}
	}
	return out
}

// mergeParents replaces what this gateway has said of a route's parents, and
// leaves what others have.
func mergeParents(s *gw.RouteStatus, want []gw.RouteParentStatus) (changed bool) {
	have, out := s.Parents, []gw.RouteParentStatus{}
	for _, h := range have {
		if h.ControllerName != gateway.Controller {
			out = append(out, h)
		}
	}
	for _, p := range want {
		var before []metav1.Condition
		for _, h := range have {
			if h.ControllerName == gateway.Controller && equality.Semantic.DeepEqual(h.ParentRef, p.ParentRef) {
				before = h.Conditions
			}
		}
		p.Conditions = merge(before, p.Conditions)
		out = append(out, p)
	}
	s.Parents = out
	return !equality.Semantic.DeepEqual(have, out)
}

// mergeAncestors replaces what this gateway has said of a policy, and leaves
// what others have.
func mergeAncestors(s *gw.PolicyStatus, want []gw.PolicyAncestorStatus) (changed bool) {
	have, out := s.Ancestors, []gw.PolicyAncestorStatus{}
	for _, h := range have {
		if h.ControllerName != gateway.Controller {
			out = append(out, h)
		}
	}
	for _, a := range want {
		var before []metav1.Condition
		for _, h := range have {
			if h.ControllerName == gateway.Controller && equality.Semantic.DeepEqual(h.AncestorRef, a.AncestorRef) {
				before = h.Conditions
			}
		}
		a.Conditions = merge(before, a.Conditions)
		out = append(out, a)
	}
	s.Ancestors = out
	return !equality.Semantic.DeepEqual(have, out)
}

// gatewayStatus merges the conditions of a Gateway and of its listeners.
func gatewayStatus(have, want gw.GatewayStatus) gw.GatewayStatus {
	want.Conditions = merge(have.Conditions, want.Conditions)
	want.Listeners = slices.Clone(want.Listeners)
	for i := range want.Listeners {
		l := &want.Listeners[i]
		var before []metav1.Condition
		for _, h := range have.Listeners {
			if h.Name == l.Name {
				before = h.Conditions
			}
		}
		l.Conditions = merge(before, l.Conditions)
	}
	return want
}

// setStatus merges the conditions of a ListenerSet and of its listeners.
func setStatus(have, want gw.ListenerSetStatus) gw.ListenerSetStatus {
	want.Conditions = merge(have.Conditions, want.Conditions)
	want.Listeners = slices.Clone(want.Listeners)
	for i := range want.Listeners {
		l := &want.Listeners[i]
		var before []metav1.Condition
		for _, h := range have.Listeners {
			if h.Name == l.Name {
				before = h.Conditions
			}
		}
		l.Conditions = merge(before, l.Conditions)
	}
	return want
}
