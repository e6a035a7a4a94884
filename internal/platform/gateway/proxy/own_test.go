package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/cert"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

func TestTheGatewayProvesWhoItIsToAnAppThatAsks(t *testing.T) {
	certPEM, keyPEM, err := cert.NewAuthority("gateways", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	own, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	defer s.Close()
	for name, tt := range map[string]struct {
		own  *tls.Certificate
		want int
	}{"with a certificate": {&own, 200}, "without": {nil, 502}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{})
			p := b.set.Service("shop/web").SecurePort(80, &upstream.TLS{ServerName: "example.com", Roots: []*x509.Certificate{s.Certificate()}, Own: tt.own})
			p.SetAddrs([]string{s.Listener.Addr().String()}, nil)
			b.rule(&route.Rule{Backends: to(p)})
			resp, body := b.do("GET", "/", "")
			if resp.StatusCode != tt.want || tt.want == 200 && body != "gateways" {
				t.Errorf("GET = %d %q; want %d", resp.StatusCode, body, tt.want)
			}
		})
	}
}
