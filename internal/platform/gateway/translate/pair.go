package translate

import (
	"crypto/tls"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	gw "sigs.k8s.io/gateway-api/apis/v1"
)

// errNotGranted is that a reference needs a ReferenceGrant.
var errNotGranted = errors.New("no ReferenceGrant")

// pair reads the certificate and key in a Secret that a Gateway or ListenerSet
// refers to. The error is errNotGranted where the Secret's namespace does not
// allow it.
func (t *translation) pair(o *owner, ref gw.SecretObjectReference) (*tls.Certificate, error) {
	if ref.Group != nil && *ref.Group != "" || ref.Kind != nil && *ref.Kind != "Secret" {
		return nil, fmt.Errorf("%s: only Secrets hold certificates", ref.Name)
	}
	namespace := o.name.Namespace
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	if !t.granted(gw.GroupName, o.kind, o.name.Namespace, "", "Secret", namespace, string(ref.Name)) {
		return nil, fmt.Errorf("%w in %s allows Secret %s", errNotGranted, namespace, ref.Name)
	}
	secret := t.Secret(namespace, string(ref.Name))
	if secret == nil || secret.Type != corev1.SecretTypeTLS {
		return nil, fmt.Errorf("there is no Secret %s/%s of type %s", namespace, ref.Name, corev1.SecretTypeTLS)
	}
	pair, err := t.Certificate(secret)
	if err != nil {
		return nil, fmt.Errorf("Secret %s/%s: %w", namespace, ref.Name, err)
	}
	return pair, nil
}

// takeOwn reads what a Gateway proves itself by to backends of HTTPS.
func (g *gateway) takeOwn(t *translation) {
	if g.Spec.TLS == nil || g.Spec.TLS.Backend == nil || g.Spec.TLS.Backend.ClientCertificateRef == nil {
		return
	}
	pair, err := t.pair(&g.owner, *g.Spec.TLS.Backend.ClientCertificateRef)
	switch {
	case err == nil:
		g.own = pair
	case errors.Is(err, errNotGranted):
		g.ownResolved = verdict{string(gw.GatewayReasonRefNotPermitted), err.Error()}
	default:
		g.ownResolved = verdict{string(gw.GatewayReasonInvalidClientCertificateRef), err.Error()}
	}
}

// ownOf is what the Gateways of a route prove themselves by. A route of several
// Gateways goes to its backends by the same connections, as the first that has
// something to show.
func (t *translation) ownOf(namespace string, parents []gw.ParentReference) *tls.Certificate {
	for _, ref := range parents {
		if p := t.parent(namespace, ref); p != nil && p.gateway.own != nil {
			return p.gateway.own
		}
	}
	return nil
}
