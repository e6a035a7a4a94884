package translate

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gw "sigs.k8s.io/gateway-api/apis/v1"
)

// condition is a verdict as the API says it. When it came to be so is for the
// one who writes it to say.
func condition(kind string, v verdict, good string, generation int64) metav1.Condition {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: good, Message: v.message, ObservedGeneration: generation}
	if !v.ok() {
		c.Status, c.Reason = metav1.ConditionFalse, v.reason
	}
	return c
}

func classStatus(c *gw.GatewayClass) gw.GatewayClassStatus {
	var accepted verdict
	if c.Spec.ParametersRef != nil {
		accepted = verdict{string(gw.GatewayClassReasonInvalidParameters), "parametersRef is not supported"}
	}
	return gw.GatewayClassStatus{Conditions: []metav1.Condition{
		condition(string(gw.GatewayClassConditionStatusAccepted), accepted, string(gw.GatewayClassReasonAccepted), c.Generation),
	}}
}

// tellGateways writes the status of each Gateway.
func (t *translation) tellGateways() {
	for _, g := range t.order {
		t.out.Status.Gateways[g.name] = t.gatewayStatus(g)
	}
}

func (t *translation) gatewayStatus(g *gateway) gw.GatewayStatus {
	var s gw.GatewayStatus
	var accepted, programmed verdict
	serving := 0
	for _, l := range g.listeners {
		s.Listeners = append(s.Listeners, gw.ListenerStatus{
			Name: l.spec.Name, SupportedKinds: l.kinds, AttachedRoutes: l.attached, Conditions: l.conditions(),
		})
		if l.serves() {
			serving++
		}
	}
	switch {
	case g.refused != "":
		accepted = verdict{string(g.reason), g.refused}
		programmed = verdict{string(gw.GatewayReasonInvalid), g.refused}
	case serving == 0:
		accepted = verdict{string(gw.GatewayReasonListenersNotValid), "no listener can be served"}
		programmed = verdict{string(gw.GatewayReasonInvalid), "no listener can be served"}
	case serving < len(g.listeners):
		accepted.message = fmt.Sprintf("%d of %d listeners cannot be served", len(g.listeners)-serving, len(g.listeners))
	}
	addresses, unusable := t.addresses(g)
	if programmed.ok() && unusable != "" {
		programmed = verdict{string(gw.GatewayReasonAddressNotUsable), unusable}
	}
	if programmed.ok() && len(addresses) == 0 {
		programmed = verdict{string(gw.GatewayReasonAddressNotAssigned), "no node has an address"}
	}
	good := string(gw.GatewayReasonAccepted)
	if accepted.ok() && accepted.message != "" {
		good = string(gw.GatewayReasonListenersNotValid)
	}
	s.Addresses = addresses
	s.AttachedListenerSets = &g.sets
	s.Conditions = []metav1.Condition{
		condition(string(gw.GatewayConditionAccepted), accepted, good, g.Generation),
		condition(string(gw.GatewayConditionProgrammed), programmed, string(gw.GatewayReasonProgrammed), g.Generation),
	}
	if g.own != nil || !g.ownResolved.ok() {
		s.Conditions = append(s.Conditions, condition(string(gw.GatewayConditionResolvedRefs), g.ownResolved, string(gw.GatewayReasonResolvedRefs), g.Generation))
	}
	if g.insecure() {
		s.Conditions = append(s.Conditions, metav1.Condition{
			Type: string(gw.GatewayConditionInsecureFrontendValidationMode), Status: metav1.ConditionTrue,
			Reason: string(gw.GatewayReasonConfigurationChanged), ObservedGeneration: g.Generation,
			Message: "clients without a valid certificate are taken, too",
		})
	}
	return s
}

// addresses are those of the nodes, or of them the ones that the Gateway wants.
func (t *translation) addresses(g *gateway) (have []gw.GatewayStatusAddress, unusable string) {
	ip := gw.IPAddressType
	wanted := map[string]bool{}
	for _, a := range g.Spec.Addresses {
		if a.Value != "" {
			wanted[a.Value] = true
		}
	}
	all := len(wanted) == 0
	for _, a := range t.Addresses {
		if all || wanted[a.String()] {
			have = append(have, gw.GatewayStatusAddress{Type: &ip, Value: a.String()})
			delete(wanted, a.String())
		}
	}
	for a := range wanted {
		unusable = a + " is no node's address"
	}
	return have, unusable
}

// conditions are what a listener says of itself.
func (l *listener) conditions() []metav1.Condition {
	generation := l.owner.generation
	var programmed verdict
	if !l.serves() {
		programmed = verdict{string(gw.ListenerReasonInvalid), "the listener cannot be served"}
	}
	conflicted := metav1.Condition{
		Type: string(gw.ListenerConditionConflicted), Status: metav1.ConditionFalse,
		Reason: string(gw.ListenerReasonNoConflicts), ObservedGeneration: generation,
	}
	accepted := l.accepted
	if !l.conflicted.ok() {
		conflicted.Status, conflicted.Reason, conflicted.Message = metav1.ConditionTrue, l.conflicted.reason, l.conflicted.message
		programmed = l.conflicted
		if accepted.ok() {
			accepted = l.conflicted
		}
	}
	return []metav1.Condition{
		condition(string(gw.ListenerConditionAccepted), accepted, string(gw.ListenerReasonAccepted), generation),
		condition(string(gw.ListenerConditionProgrammed), programmed, string(gw.ListenerReasonProgrammed), generation),
		condition(string(gw.ListenerConditionResolvedRefs), l.resolved, string(gw.ListenerReasonResolvedRefs), generation),
		conflicted,
	}
}
