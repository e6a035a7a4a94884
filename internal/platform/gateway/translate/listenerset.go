package translate

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"
)

// listenerSet is a ListenerSet of a Gateway that is ours.
type listenerSet struct {
	*gw.ListenerSet
	owner
	refused string // why it is not accepted; empty when it is
	reason  gw.ListenerSetConditionReason
}

// takeListenerSets finds the ListenerSets of our Gateways, the older first.
func (t *translation) takeListenerSets() map[*gateway][]*listenerSet {
	out := map[*gateway][]*listenerSet{}
	for _, s := range t.Sets {
		parent := t.parent(s.Namespace, gw.ParentReference{Group: s.Spec.ParentRef.Group, Kind: s.Spec.ParentRef.Kind, Namespace: s.Spec.ParentRef.Namespace, Name: s.Spec.ParentRef.Name})
		if parent == nil || parent.kind != "Gateway" {
			continue
		}
		set := &listenerSet{ListenerSet: s}
		set.owner = owner{kind: "ListenerSet", name: types.NamespacedName{Namespace: s.Namespace, Name: s.Name}, generation: s.Generation, gateway: parent.gateway}
		out[parent.gateway] = append(out[parent.gateway], set)
		t.sets = append(t.sets, set)
	}
	for _, sets := range out {
		slices.SortFunc(sets, func(a, b *listenerSet) int {
			return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.name.Namespace, b.name.Namespace), cmp.Compare(a.name.Name, b.name.Name))
		})
	}
	for _, set := range t.sets {
		switch {
		case !t.allowsSet(set.gateway, set.name.Namespace):
			set.refused, set.reason = fmt.Sprintf("%s allows no ListenerSet of namespace %s", &set.gateway.owner, set.name.Namespace), gw.ListenerSetReasonNotAllowed
		case set.gateway.refused != "":
			set.refused, set.reason = set.gateway.refused, gw.ListenerSetReasonParentNotAccepted
		default:
			t.owners[parentKey{"ListenerSet", set.name}] = &set.owner
		}
	}
	return out
}

// take reads the listeners of a set. Those before it keep what both want.
func (s *listenerSet) take(t *translation, before []*listener) []*listener {
	if s.refused != "" {
		return before
	}
	for i := range s.Spec.Listeners {
		e := &s.Spec.Listeners[i]
		l := t.listener(&s.owner, &gw.Listener{Name: e.Name, Hostname: e.Hostname, Port: e.Port, Protocol: e.Protocol, TLS: e.TLS, AllowedRoutes: e.AllowedRoutes})
		for _, b := range before {
			if v := b.against(l); !v.ok() && b.conflicted.ok() {
				l.conflicted = v
				break
			}
		}
		s.listeners = append(s.listeners, l)
		before = append(before, l)
	}
	return before
}

// allowsSet tells whether a Gateway lets others add listeners. By default it
// lets nobody.
func (t *translation) allowsSet(g *gateway, namespace string) bool {
	a := g.Spec.AllowedListeners
	if a == nil || a.Namespaces == nil || a.Namespaces.From == nil {
		return false
	}
	switch *a.Namespaces.From {
	case gw.NamespacesFromAll:
		return true
	case gw.NamespacesFromSame:
		return namespace == g.name.Namespace
	case gw.NamespacesFromSelector:
		selector, err := metav1.LabelSelectorAsSelector(a.Namespaces.Selector)
		ns := t.Namespace(namespace)
		return err == nil && ns != nil && selector.Matches(labels.Set(ns.Labels))
	}
	return false
}

// tellSets writes the status of each ListenerSet, and counts those that are
// attached.
func (t *translation) tellSets() {
	for _, s := range t.sets {
		t.out.Status.Sets[s.name] = s.status()
	}
}

func (s *listenerSet) status() gw.ListenerSetStatus {
	var out gw.ListenerSetStatus
	var accepted, programmed verdict
	good, serving := string(gw.ListenerSetReasonAccepted), 0
	for _, l := range s.listeners {
		out.Listeners = append(out.Listeners, gw.ListenerEntryStatus{
			Name: l.spec.Name, SupportedKinds: l.kinds, AttachedRoutes: l.attached, Conditions: l.conditions(),
		})
		if l.serves() {
			serving++
		}
	}
	switch {
	case s.refused != "":
		accepted = verdict{string(s.reason), s.refused}
		programmed = accepted
	case serving == 0:
		accepted = verdict{string(gw.ListenerSetReasonListenersNotValid), "no listener can be served"}
		programmed = accepted
	case serving < len(s.listeners):
		good = string(gw.ListenerSetReasonListenersNotValid)
		accepted.message = fmt.Sprintf("%d of %d listeners cannot be served", len(s.listeners)-serving, len(s.listeners))
	}
	if accepted.ok() {
		s.gateway.sets++
	}
	out.Conditions = []metav1.Condition{
		condition(string(gw.ListenerSetConditionAccepted), accepted, good, s.Generation),
		condition(string(gw.ListenerSetConditionProgrammed), programmed, string(gw.ListenerSetReasonProgrammed), s.Generation),
	}
	return out
}
