package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway"
)

// client makes an authority, as PEM, and a certificate of it for a client.
func client(t *testing.T) (ca string, pair tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "alice"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key}
}

func TestClientsProveWhoTheyAre(t *testing.T) {
	c := start(t, httpRoute("open", "open.example.com", "web"))
	c.service("web", "", backend(t, "hello"))
	ca, alice := client(t)
	_, mallory := client(t)
	ctx := t.Context()
	_, err := c.clients.Kube.CoreV1().ConfigMaps("shop").Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "clients"}, Data: map[string]string{"ca.crt": ca},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Another Gateway on the same port, which asks for certificates.
	gateways := c.clients.Gateway.GatewayV1().Gateways("shop")
	g, err := gateways.Create(ctx, &gw.Gateway{
		ObjectMeta: metav1.ObjectMeta{Name: "closed", Namespace: "shop", Generation: 1, CreationTimestamp: metav1.Now()},
		Spec: gw.GatewaySpec{
			GatewayClassName: "sampan",
			TLS: &gw.GatewayTLSConfig{Frontend: &gw.FrontendTLSConfig{Default: gw.TLSConfig{Validation: &gw.FrontendTLSValidation{
				CACertificateRefs: []gw.ObjectReference{{Kind: "ConfigMap", Name: "clients"}},
			}}}},
			Listeners: []gw.Listener{{Name: "https", Port: gw.PortNumber(c.https), Protocol: gw.HTTPSProtocolType, TLS: &gw.ListenerTLSConfig{
				Options: map[gw.AnnotationKey]gw.AnnotationValue{gateway.AutomaticCertificates: "automatic"},
			}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	closed := httpRoute("closed", "closed.example.com", "web")
	closed.Spec.ParentRefs = []gw.ParentReference{{Name: "closed"}}
	if _, err := c.clients.Gateway.GatewayV1().HTTPRoutes("shop").Create(ctx, closed, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ask := func(name, host string, pairs ...tls.Certificate) (int, error) {
		tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: name, Certificates: pairs}}
		defer tr.CloseIdleConnections()
		req, _ := http.NewRequest("GET", fmt.Sprintf("https://127.0.0.1:%d/", c.https), nil)
		req.Host = host
		resp, err := tr.RoundTrip(req)
		if err != nil {
			return 0, err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp.StatusCode, nil
	}
	eventually(t, func() error {
		if code, err := ask("closed.example.com", "closed.example.com", alice); code != 200 {
			return fmt.Errorf("a client with a certificate is answered %d, %v; want 200", code, err)
		}
		return nil
	})
	for name, tt := range map[string]struct {
		name, host string
		pairs      []tls.Certificate
		want       int // zero: there is no connection
	}{
		"without a certificate":                 {"closed.example.com", "closed.example.com", nil, 0},
		"with another authority's":              {"closed.example.com", "closed.example.com", []tls.Certificate{mallory}, 0},
		"a name that does not ask":              {"open.example.com", "open.example.com", nil, 200},
		"by a connection for another name":      {"open.example.com", "closed.example.com", nil, 421},
		"by one with a certificate, not asked":  {"open.example.com", "closed.example.com", []tls.Certificate{alice}, 421},
		"to what does not ask, with a good one": {"closed.example.com", "open.example.com", []tls.Certificate{alice}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			if code, err := ask(tt.name, tt.host, tt.pairs...); code != tt.want || (err != nil) != (tt.want == 0) {
				t.Errorf("answer = %d, %v; want %d", code, err, tt.want)
			}
		})
	}

	t.Run("any are taken where that is wanted", func(t *testing.T) {
		g.Spec.TLS.Frontend.Default.Validation.Mode = gw.AllowInsecureFallback
		g.Generation, g.ResourceVersion = 2, "2"
		if _, err := gateways.Update(ctx, g, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error {
			for _, pairs := range [][]tls.Certificate{nil, {mallory}, {alice}} {
				if code, err := ask("closed.example.com", "closed.example.com", pairs...); code != 200 {
					return fmt.Errorf("answer = %d, %v; want 200", code, err)
				}
			}
			return nil
		})
	})
}
