package server

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/acme"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/acme/acmetest"
)

// shown is the certificate that the gateway shows for a name.
func (c *cloud) shown(name string) (tls.ConnectionState, error) {
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.https), &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.ConnectionState(), nil
}

// byOwn tells whether the cloud's own authority vouches for a connection.
func (c *cloud) byOwn(s tls.ConnectionState, name string) error {
	secret, err := c.clients.Kube.CoreV1().Secrets("sampan-system").Get(c.t.Context(), authoritySecret, metav1.GetOptions{})
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(secret.Data[corev1.TLSCertKey])
	_, err = s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
	return err
}

// became is what the gateway says of its public names.
func (c *cloud) became() map[string]acme.Status {
	c.t.Helper()
	resp, err := http.Get("http://" + c.admin + "/v1/certificates")
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct{ Certificates []acme.Status }
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		c.t.Fatal(err)
	}
	out := map[string]acme.Status{}
	for _, s := range got.Certificates {
		out[s.Name] = s
	}
	return out
}

func TestAPublicNameHasAPublicCertificate(t *testing.T) {
	for name, ports := range map[string]func(c *cloud) (int, int){
		"asked over HTTP": func(c *cloud) (int, int) { return c.http, freePort(t) },
		"asked over TLS":  func(c *cloud) (int, int) { return freePort(t), c.https },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			httpPort, tlsPort := ports(c)
			a := acmetest.Start(t, httpPort, tlsPort, time.Hour)
			startWith(t, c, gateway.Config{ACME: &gateway.ACME{Directory: a.Directory, CA: a.CA, Email: "ops@example.com"}},
				httpRoute("shop", "shop.example.com", "web"), httpRoute("local", "web.shop.sampan.local", "web"))
			c.service("web", "", backend(t, "hello"))
			for end := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				s, err := c.shown("shop.example.com")
				if err == nil {
					err = a.Check(s, "shop.example.com")
				}
				if err == nil {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("after 15 s: %v; %+v", err, c.became())
				}
			}
			s, err := c.shown("web.shop.sampan.local")
			if err == nil {
				err = c.byOwn(s, "web.shop.sampan.local")
			}
			if err != nil {
				t.Errorf("the local name: %v", err)
			}
			if got := c.became(); len(got) != 1 || got["shop.example.com"].NotAfter == nil {
				t.Errorf("certificates = %+v; want that of shop.example.com alone", got)
			}
		})
	}
}

func TestANameWithoutAPublicCertificateShowsOurOwn(t *testing.T) {
	c := newCloud(t)
	a := acmetest.Start(t, c.http, c.https, time.Hour)
	a.Fail()
	startWith(t, c, gateway.Config{ACME: &gateway.ACME{Directory: a.Directory, CA: a.CA}}, httpRoute("shop", "shop.example.com", "web"))
	eventually(t, func() error {
		if got := c.became()["shop.example.com"]; got.Error == "" || got.NotAfter != nil {
			return fmt.Errorf("it says %+v; want why there is no certificate", got)
		}
		s, err := c.shown("shop.example.com")
		if err != nil {
			return err
		}
		return c.byOwn(s, "shop.example.com")
	})
}

func TestOnlyNamesThatTheWorldKnowsAreAskedFor(t *testing.T) {
	s := &Server{cfg: gateway.Config{}.Defaulted()}
	got := s.publicNames([]string{"shop.example.com", "web.shop.sampan.local", "localhost", "printer.local", "a.internal", "192.0.2.1", "x.home.arpa", "web.test"})
	if want := []string{"shop.example.com"}; !slices.Equal(got, want) {
		t.Errorf("publicNames = %v; want %v", got, want)
	}
}
