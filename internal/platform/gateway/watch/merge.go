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
	return mergeOurs(&s.Parents, want, func(p *gw.RouteParentStatus) said {
		return said{p.ControllerName, p.ParentRef, &p.Conditions}
	})
}

// mergeAncestors does so for a policy.
func mergeAncestors(s *gw.PolicyStatus, want []gw.PolicyAncestorStatus) (changed bool) {
	return mergeOurs(&s.Ancestors, want, func(a *gw.PolicyAncestorStatus) said {
		return said{a.ControllerName, a.AncestorRef, &a.Conditions}
	})
}

// said is what one controller says of an object at one of its parents.
type said struct {
	by         gw.GatewayController
	at         gw.ParentReference
	conditions *[]metav1.Condition
}

func mergeOurs[T any](list *[]T, want []T, of func(*T) said) (changed bool) {
	have, out := *list, []T{}
	for _, h := range have {
		if of(&h).by != gateway.Controller {
			out = append(out, h)
		}
	}
	for _, w := range want {
		now := of(&w)
		var before []metav1.Condition
		for _, h := range have {
			if was := of(&h); was.by == gateway.Controller && equality.Semantic.DeepEqual(was.at, now.at) {
				before = *was.conditions
			}
		}
		*now.conditions = merge(before, *now.conditions)
		out = append(out, w)
	}
	*list = out
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
