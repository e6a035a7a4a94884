package translate

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	api "github.com/sampan-cloud/sampan/internal/platform/gateway"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// annUnverified is what a Service whose HTTPS nobody can check says, so that it
// is spoken to all the same.
const annUnverified = prefix + "unverified-tls"

// policy is a BackendTLSPolicy.
type policy struct {
	*gw.BackendTLSPolicy
	who                *upstream.TLS // nil when nobody could prove to be the backend
	accepted, resolved verdict
	ancestors          []*owner // Gateways that routes to its Services are on
}

// policyTarget is what a policy is about: a Service, or one port of it.
type policyTarget struct{ namespace, service, port string }

// takePolicies reads the policies, and finds which of them counts for what.
func (t *translation) takePolicies() {
	t.policies = map[policyTarget][]*policy{}
	sorted := slices.SortedFunc(slices.Values(t.Policies), func(a, b *gw.BackendTLSPolicy) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for _, p := range sorted {
		own := &policy{BackendTLSPolicy: p}
		own.read(t)
		t.allPolicies = append(t.allPolicies, own)
		for _, ref := range p.Spec.TargetRefs {
			if ref.Group != "" || ref.Kind != "Service" {
				continue
			}
			at := policyTarget{namespace: p.Namespace, service: string(ref.Name)}
			if ref.SectionName != nil {
				at.port = string(*ref.SectionName)
			}
			if first := t.policies[at]; len(first) > 0 {
				own.accepted = verdict{string(gw.PolicyReasonConflicted), fmt.Sprintf("Service %s has the older policy %s", ref.Name, first[0].Name)}
			}
			t.policies[at] = append(t.policies[at], own)
		}
	}
}

// read finds out who may vouch for a backend.
func (p *policy) read(t *translation) {
	v := &p.Spec.Validation
	who := &upstream.TLS{ServerName: string(v.Hostname)}
	for _, n := range v.SubjectAltNames {
		if n.Type == gw.URISubjectAltNameType {
			who.URIs = append(who.URIs, string(n.URI))
			continue
		}
		who.Names = append(who.Names, strings.ToLower(string(n.Hostname)))
	}
	switch {
	case len(v.CACertificateRefs) > 0:
		for _, ref := range v.CACertificateRefs {
			roots, bad := t.authorities(p.Namespace, string(ref.Group), string(ref.Kind), string(ref.Name))
			switch bad {
			case nil:
				who.Roots = append(who.Roots, roots...)
			case errKind:
				p.resolved = verdict{string(gw.BackendTLSPolicyReasonInvalidKind), fmt.Sprintf("%s %s: %v", ref.Kind, ref.Name, bad)}
			default:
				p.resolved = verdict{string(gw.BackendTLSPolicyReasonInvalidCACertificateRef), bad.Error()}
			}
		}
		if len(who.Roots) == 0 {
			p.accepted = verdict{string(gw.BackendTLSPolicyReasonNoValidCACertificate), "there is no authority to check the backend's certificate by: " + p.resolved.message}
		}
	case v.WellKnownCACertificates != nil && *v.WellKnownCACertificates == gw.WellKnownCACertificatesSystem:
	default:
		p.accepted = verdict{string(gw.PolicyReasonInvalid), "wellKnownCACertificates: only System is known"}
	}
	// With an authority that cannot be read, connections are to fail rather than to
	// be checked by fewer.
	if p.accepted.ok() && p.resolved.ok() {
		p.who = who
	}
}

// errKind is that authorities are looked for where none can be.
var errKind = errors.New("only ConfigMaps hold authorities")

// authorities reads the certificates in a ConfigMap's ca.crt.
func (t *translation) authorities(namespace, group, kind, name string) ([]*x509.Certificate, error) {
	if group != "" || kind != "ConfigMap" {
		return nil, errKind
	}
	cm := t.ConfigMap(namespace, name)
	if cm == nil {
		return nil, fmt.Errorf("there is no ConfigMap %s/%s", namespace, name)
	}
	var out []*x509.Certificate
	for rest := []byte(cm.Data["ca.crt"]); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("ConfigMap %s/%s, key ca.crt: %w", namespace, name, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("ConfigMap %s/%s has no certificate under the key ca.crt", namespace, name)
	}
	return out, nil
}

// secure returns a port whose backends speak HTTPS, by what a policy says or
// what the Service itself does. Without either the port is as it is spoken to;
// missing says why it cannot be.
func (t *translation) secure(svc *corev1.Service, port *corev1.ServicePort, as *upstream.Port, found *problems) (secured *upstream.Port, missing string) {
	if len(t.policies) == 0 && as.Protocol != upstream.HTTPS {
		return as, "" // as most are, of which there may be thousands
	}
	name := svc.Namespace + "/" + svc.Name
	for _, section := range []string{port.Name, ""} {
		at := t.policies[policyTarget{svc.Namespace, svc.Name, section}]
		if len(at) == 0 {
			continue
		}
		found.policies = append(found.policies, at...)
		if at[0].who == nil {
			return nil, fmt.Sprintf("Service %s: BackendTLSPolicy %s: %s", name, at[0].Name, cmp.Or(at[0].accepted.message, at[0].resolved.message))
		}
		return as.Service.SecurePort(int(port.Port), showing(at[0].who, found.own)), ""
	}
	switch {
	case as.Protocol != upstream.HTTPS:
		return as, ""
	case svc.Annotations[annUnverified] == "true":
		return as.Service.SecurePort(int(port.Port), showing(&upstream.TLS{Unverified: true}, found.own)), ""
	}
	missing = fmt.Sprintf("Service %s speaks HTTPS, and no BackendTLSPolicy says how its certificate is checked; the annotation %s: \"true\" on the Service does without", name, annUnverified)
	found.unresolvedRef(gw.RouteReasonUnsupportedProtocol, "%s", missing)
	return nil, missing
}

// showing is who, to whom the gateway proves itself by own.
func showing(who *upstream.TLS, own *tls.Certificate) *upstream.TLS {
	if own == nil {
		return who
	}
	with := *who
	with.Own = own
	return &with
}

// tellPolicies writes the status of each policy, for each Gateway that a route
// to its Services is on.
func (t *translation) tellPolicies() {
	for _, p := range t.allPolicies {
		status := gw.PolicyStatus{Ancestors: []gw.PolicyAncestorStatus{}}
		for _, o := range p.ancestors {
			group, kind, ns := gw.Group(gw.GroupName), gw.Kind(o.kind), gw.Namespace(o.name.Namespace)
			status.Ancestors = append(status.Ancestors, gw.PolicyAncestorStatus{
				AncestorRef:    gw.ParentReference{Group: &group, Kind: &kind, Namespace: &ns, Name: gw.ObjectName(o.name.Name)},
				ControllerName: api.Controller,
				Conditions: []metav1.Condition{
					condition(string(gw.PolicyConditionAccepted), p.accepted, string(gw.PolicyReasonAccepted), p.Generation),
					condition(string(gw.BackendTLSPolicyConditionResolvedRefs), p.resolved, string(gw.BackendTLSPolicyReasonResolvedRefs), p.Generation),
				},
			})
		}
		before := slices.ContainsFunc(p.Status.Ancestors, func(a gw.PolicyAncestorStatus) bool { return a.ControllerName == api.Controller })
		if len(p.ancestors) > 0 || before {
			t.out.Status.Policies[types.NamespacedName{Namespace: p.Namespace, Name: p.Name}] = status
		}
	}
}

// used notes that a route which a policy matters to is on a Gateway. The API has
// room for sixteen.
func (p *policy) used(g *gateway) {
	if !slices.Contains(p.ancestors, &g.owner) && len(p.ancestors) < 16 {
		p.ancestors = append(p.ancestors, &g.owner)
	}
}
