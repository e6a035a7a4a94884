package server

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/oidc"
)

func TestARouteWithALoginSendsToTheIssuer(t *testing.T) {
	var issuer *httptest.Server
	issuer = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": issuer.URL, "authorization_endpoint": issuer.URL + "/authorize", "token_endpoint": issuer.URL + "/token", "jwks_uri": issuer.URL + "/keys"})
	}))
	defer issuer.Close()
	shop := httpRoute("shop", "shop.example.com", "web")
	shop.Annotations = map[string]string{"gateway.sampan.dev/oidc": "login"}
	c := start(t, shop)
	c.service("web", "", backend(t, "open"))
	ask := func() (*http.Response, error) {
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "shop.example.com"}}
		defer tr.CloseIdleConnections()
		req, _ := http.NewRequest("GET", fmt.Sprintf("https://127.0.0.1:%d/cart", c.https), nil)
		req.Host = "shop.example.com"
		req.Header.Set("Accept", "text/html")
		resp, err := tr.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		return resp, err
	}
	// Until the Secret is there, nothing is open.
	if resp, err := ask(); err != nil || resp.StatusCode == 200 {
		t.Errorf("without the Secret the app is open: %v, %v", resp, err)
	}
	_, err := c.clients.Kube.CoreV1().Secrets("shop").Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "login"}, Type: oidc.SecretType,
		Data: map[string][]byte{"issuer": []byte(issuer.URL), "client-id": []byte("shop"), "client-secret": []byte("s3cret"),
			"ca.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw})},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		resp, err := ask()
		if err != nil {
			return err
		}
		to, err := url.Parse(resp.Header.Get("Location"))
		if err != nil || resp.StatusCode != 302 || to.Host != issuer.Listener.Addr().String() || to.Query().Get("redirect_uri") != "https://shop.example.com"+oidc.CallbackPath {
			return fmt.Errorf("answer = %d to %v, %v; want the way to the issuer", resp.StatusCode, to, err)
		}
		return nil
	})
}
