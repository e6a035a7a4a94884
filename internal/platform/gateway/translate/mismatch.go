package translate

import (
	"crypto/tls"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// ConditionCertificate is false of a route whose hosts the listener's
// certificates are not for. They are shown all the same: there may be clients
// that know what they do.
const ConditionCertificate = "CertificateMatches"

// What is wrong with a certificate that an Ingress names.
const (
	reasonMismatch      = "CertificateMismatch"
	reasonNoCertificate = "CertificateUnusable"
)

// tellMismatches says on routes which of their hosts clients will not trust.
func (t *translation) tellMismatches() {
	told := map[*route.Route]bool{}
	for _, l := range t.listeners {
		if !l.serves() || len(l.pairs) == 0 {
			continue
		}
		for _, r := range l.routes {
			if told[r] {
				continue
			}
			for _, h := range r.Hosts {
				host, ok := route.Intersect(l.hostname, h)
				why := ""
				if ok {
					why = mismatch(l.pairs, host)
				}
				if why == "" {
					continue
				}
				told[r] = true
				for _, parent := range t.routes[r] {
					parent.Conditions = append(parent.Conditions, metav1.Condition{
						Type: ConditionCertificate, Status: metav1.ConditionFalse, Reason: reasonMismatch,
						Message:            fmt.Sprintf("listener %s of %s: %s", l.spec.Name, l.owner, why),
						ObservedGeneration: parent.Conditions[0].ObservedGeneration,
					})
				}
				break
			}
		}
	}
}

// mismatch tells why none of the certificates is for a host; empty when one is.
func mismatch(pairs []*tls.Certificate, host string) string {
	// A certificate is for a wildcard when it is for any name under it.
	host = strings.Replace(host, "*", "any", 1)
	var why error
	for _, p := range pairs {
		if p.Leaf == nil {
			return ""
		}
		if why = p.Leaf.VerifyHostname(host); why == nil {
			return ""
		}
	}
	return why.Error()
}
