package translate

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	api "github.com/sampan-cloud/sampan/internal/platform/gateway"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// attach puts a route on the listeners that its parents name, and returns what
// each parent says of it. A parent that is not ours is somebody else's to judge.
func (t *translation) attach(kind string, meta *metav1.ObjectMeta, spec *gw.CommonRouteSpec, r *route.Route, refs problems) []gw.RouteParentStatus {
	var out []gw.RouteParentStatus
	attached := map[*listener]bool{}
	for _, ref := range spec.ParentRefs {
		parent := t.parent(meta.Namespace, ref)
		if parent == nil {
			continue
		}
		accepted := t.attachTo(parent, kind, meta.Namespace, ref, r, attached, !refs.invalid.ok())
		if accepted.ok() {
			accepted = refs.invalid
			for _, p := range refs.policies {
				p.used(parent.gateway)
			}
		}
		out = append(out, gw.RouteParentStatus{
			ParentRef: ref, ControllerName: api.Controller,
			Conditions: []metav1.Condition{
				condition(string(gw.RouteConditionAccepted), accepted, string(gw.RouteReasonAccepted), meta.Generation),
				condition(string(gw.RouteConditionResolvedRefs), refs.unresolved, string(gw.RouteReasonResolvedRefs), meta.Generation),
			},
		})
	}
	for i := range out {
		t.routes[r] = append(t.routes[r], &out[i])
	}
	return out
}

// judged tells whether we have said something of a route before, which is to be
// taken back when it has left our Gateways.
func judged(parents []gw.RouteParentStatus) bool {
	return slices.ContainsFunc(parents, func(p gw.RouteParentStatus) bool { return p.ControllerName == api.Controller })
}

// parentKey is how routes name a parent.
type parentKey struct {
	kind string
	types.NamespacedName
}

// parent returns what a route names, when it is ours.
func (t *translation) parent(namespace string, ref gw.ParentReference) *owner {
	if ref.Group != nil && *ref.Group != gw.GroupName {
		return nil
	}
	kind := "Gateway"
	if ref.Kind != nil {
		kind = string(*ref.Kind)
	}
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	return t.owners[parentKey{kind, types.NamespacedName{Namespace: namespace, Name: string(ref.Name)}}]
}

func (t *translation) attachTo(parent *owner, kind, namespace string, ref gw.ParentReference, r *route.Route, attached map[*listener]bool, invalid bool) verdict {
	var named, allowed, hosted int
	for _, l := range parent.listeners {
		if ref.SectionName != nil && *ref.SectionName != l.spec.Name || ref.Port != nil && int(*ref.Port) != l.port {
			continue
		}
		named++
		if !t.allows(l, kind, namespace) {
			continue
		}
		allowed++
		if !shareHost(l.hostname, r.Hosts) {
			continue
		}
		hosted++
		if attached[l] || invalid {
			continue
		}
		attached[l] = true
		l.attached++
		l.routes = append(l.routes, r)
	}
	switch {
	case named == 0:
		return verdict{string(gw.RouteReasonNoMatchingParent), fmt.Sprintf("%s has no such listener", parent)}
	case allowed == 0:
		return verdict{string(gw.RouteReasonNotAllowedByListeners), fmt.Sprintf("no listener of %s allows a %s of namespace %s", parent, kind, namespace)}
	case hosted == 0:
		return verdict{string(gw.RouteReasonNoMatchingListenerHostname), "no listener serves any of the route's hostnames"}
	}
	return verdict{}
}

func shareHost(listener string, hosts []string) bool {
	if len(hosts) == 0 {
		return true
	}
	for _, h := range hosts {
		if _, ok := route.Intersect(listener, h); ok {
			return true
		}
	}
	return false
}

// ConditionConflicted is true of a route that wants what an older one has.
const ConditionConflicted = "Conflicted"

// tellConflicts says on the newer route what the older one keeps.
func (t *translation) tellConflicts(conflicts []route.Conflict) {
	told := map[*route.Route]bool{}
	for _, c := range conflicts {
		if told[c.Loser] || sameLogin(c) {
			continue
		}
		told[c.Loser] = true
		host := c.Host
		if host == "" {
			host = "every host"
		}
		message := fmt.Sprintf("%s%s belongs to %s, which is older", host, c.Match, c.Winner.Name)
		for _, parent := range t.routes[c.Loser] {
			generation := parent.Conditions[0].ObservedGeneration
			parent.Conditions = append(parent.Conditions, metav1.Condition{
				Type: ConditionConflicted, Status: metav1.ConditionTrue, Reason: "HostClaimed", Message: message, ObservedGeneration: generation,
			})
		}
	}
}
