package oidc

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// fake is an issuer where everybody who comes is logged in as who it says.
type fake struct {
	*httptest.Server
	t      *testing.T
	key    *rsa.PrivateKey
	claims map[string]any // of the next token, beside what there must be
	codes  map[string]url.Values
	down   bool
}

func newIssuer(t *testing.T) *fake {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, key: key, codes: map[string]url.Values{}, claims: map[string]any{}}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": f.URL, "authorization_endpoint": f.URL + "/authorize", "token_endpoint": f.URL + "/token", "jwks_uri": f.URL + "/keys",
			"end_session_endpoint": f.URL + "/end", "id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		e := big.NewInt(int64(key.E)).Bytes()
		answer(w, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1",
			"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(e)}}})
	})
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		code := rand.Text()
		f.codes[code] = q
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		asked, ok := f.codes[r.PostFormValue("code")]
		delete(f.codes, r.PostFormValue("code"))
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		id, secret, _ := r.BasicAuth()
		if !ok || id != "shop" || secret != "s3cret" || asked.Get("code_challenge_method") != "S256" || asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) {
			w.WriteHeader(http.StatusBadRequest)
			answer(w, map[string]string{"error": "invalid_grant"})
			return
		}
		c := map[string]any{"iss": f.URL, "aud": "shop", "sub": "7", "nonce": asked.Get("nonce"), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix()}
		for k, v := range f.claims {
			c[k] = v
		}
		answer(w, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": f.sign(c)})
	})
	f.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.down {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) sign(claims map[string]any) string {
	body, _ := json.Marshal(claims)
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"1"}`)) + "." + base64.RawURLEncoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, f.key, crypto.SHA256, sum[:])
	if err != nil {
		f.t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// site is an app behind a Gate. It answers with who asks.
type site struct {
	*httptest.Server
	login *route.Login
	gate  *Gate
}

func newSite(t *testing.T, f *fake) *site {
	t.Helper()
	s := &site{gate: New(slog.New(slog.DiscardHandler)), login: &route.Login{
		Issuer: f.URL, ClientID: "shop", ClientSecret: "s3cret", Scopes: []string{"openid"}, Session: time.Hour,
		CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw}),
	}}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.gate.Allow(s.login, w, r, r.Header.Get("Test-Plain") == "") {
			fmt.Fprintf(w, "%s %s user=%s email=%s groups=%s cookies=%s", r.Method, r.URL.RequestURI(),
				r.Header.Get("X-Forwarded-User"), r.Header.Get("X-Forwarded-Email"), r.Header.Get("X-Forwarded-Groups"), r.Header.Get("Cookie"))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// browser keeps cookies and goes where it is sent.
func (s *site) browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	// One certificate for both: httptest has no other.
	return &http.Client{Jar: jar, Transport: s.Client().Transport}
}

func get(t *testing.T, c *http.Client, to string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest("GET", to, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html,*/*")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header[name] = []string{value}
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestSomebodyLogsInAndOut(t *testing.T) {
	f := newIssuer(t)
	f.claims = map[string]any{"preferred_username": "alice", "email": "alice@example.com", "groups": []string{"dev", "ops"}}
	s := newSite(t, f)
	c := s.browser(t)
	const want = "GET /cart?id=7 user=alice email=alice@example.com groups=dev,ops cookies="
	if resp, body := get(t, c, s.URL+"/cart?id=7"); resp.StatusCode != 200 || body != want {
		t.Fatalf("the first page = %d %q; want %q", resp.StatusCode, body, want)
	}
	// Who is known needs no issuer, and cannot be somebody else.
	f.down = true
	_, body := get(t, c, s.URL+"/", "X-Forwarded-User: root", "X_Forwarded_Groups: admin", "X-Forwarded-Preferred-Username: root", "Cookie: mine=1")
	if body != "GET / user=alice email=alice@example.com groups=dev,ops cookies=mine=1" {
		t.Errorf("the second page = %q; want alice, and the app's own cookie alone", body)
	}
	f.down = false
	stay := &http.Client{Jar: c.Jar, Transport: c.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, _ := get(t, stay, s.URL+LogoutPath)
	if to := resp.Header.Get("Location"); resp.StatusCode != 302 || !strings.HasPrefix(to, f.URL+"/end?client_id=shop") {
		t.Errorf("logout = %d to %q; want to the issuer", resp.StatusCode, to)
	}
	if resp, _ := get(t, stay, s.URL+"/"); resp.StatusCode != 302 || !strings.HasPrefix(resp.Header.Get("Location"), f.URL+"/authorize?") {
		t.Errorf("after logout = %d to %q; want to the issuer", resp.StatusCode, resp.Header.Get("Location"))
	}
}

func TestOnlyThoseWhoAreNamedComeIn(t *testing.T) {
	for name, tt := range map[string]struct {
		emails, groups []string
		claims         map[string]any
		want           int
	}{
		"everybody whom the issuer knows":   {nil, nil, map[string]any{}, 200},
		"an address":                        {[]string{"Alice@example.com"}, nil, map[string]any{"email": "alice@example.com"}, 200},
		"another address":                   {[]string{"bob@example.com"}, nil, map[string]any{"email": "alice@example.com"}, 403},
		"a domain":                          {[]string{"*@example.com"}, nil, map[string]any{"email": "alice@example.com"}, 200},
		"a domain that only ends like it":   {[]string{"*@example.com"}, nil, map[string]any{"email": "alice@notexample.com"}, 403},
		"an address that is not proven":     {[]string{"alice@example.com"}, nil, map[string]any{"email": "alice@example.com", "email_verified": false}, 403},
		"one that is, as a string":          {[]string{"alice@example.com"}, nil, map[string]any{"email": "alice@example.com", "email_verified": "true"}, 200},
		"no address":                        {[]string{"*@"}, nil, map[string]any{}, 403},
		"a group":                           {nil, []string{"ops"}, map[string]any{"groups": []string{"dev", "ops"}}, 200},
		"a group that is not a list":        {nil, []string{"ops"}, map[string]any{"groups": "ops"}, 200},
		"another group":                     {nil, []string{"ops"}, map[string]any{"groups": []string{"dev"}}, 403},
		"a group, when the address is not":  {[]string{"bob@example.com"}, []string{"ops"}, map[string]any{"email": "a@b.c", "groups": "ops"}, 200},
		"in more groups than a cookie has":  {nil, []string{"ops"}, map[string]any{"groups": append(many(500), "ops")}, 200},
		"in too many, of which none counts": {nil, nil, map[string]any{"groups": many(500)}, 200},
		"a token for somebody else":         {nil, nil, map[string]any{"aud": "other"}, 403},
		"a token of another login":          {nil, nil, map[string]any{"nonce": "old"}, 403},
		"a token of another issuer":         {nil, nil, map[string]any{"iss": "https://evil.example"}, 403},
		"a token from before":               {nil, nil, map[string]any{"exp": 1}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			f := newIssuer(t)
			f.claims = tt.claims
			s := newSite(t, f)
			s.login.Emails, s.login.Groups = tt.emails, tt.groups
			if resp, body := get(t, s.browser(t), s.URL+"/"); resp.StatusCode != tt.want {
				t.Errorf("answer = %d %q; want %d", resp.StatusCode, body, tt.want)
			}
		})
	}
}

func many(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("group-%d", i))
	}
	return out
}

func TestWhatIsNotOfALoginIsRefused(t *testing.T) {
	f := newIssuer(t)
	s := newSite(t, f)
	c := s.browser(t)
	stay := &http.Client{Jar: c.Jar, Transport: c.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	begin := func() url.Values {
		resp, _ := get(t, stay, s.URL+"/")
		u, err := url.Parse(resp.Header.Get("Location"))
		if err != nil || resp.StatusCode != 302 {
			t.Fatalf("the first page = %d, %v; want the way to the issuer", resp.StatusCode, err)
		}
		return u.Query()
	}
	q := begin()
	for name, tt := range map[string]struct {
		query  string
		client *http.Client
		want   int
	}{
		"another state":               {"state=x&code=y", stay, 400},
		"no state":                    {"code=y", stay, 400},
		"a login of another browser":  {"code=y&state=" + begin().Get("state"), s.browser(t), 400},
		"a code that is none":         {"code=y&state=" + begin().Get("state"), stay, 403},
		"what the issuer has refused": {"error=access_denied&error_description=no&state=" + begin().Get("state"), stay, 403},
	} {
		t.Run(name, func(t *testing.T) {
			if resp, body := get(t, tt.client, s.URL+CallbackPath+"?"+tt.query); resp.StatusCode != tt.want {
				t.Errorf("answer = %d %q; want %d", resp.StatusCode, body, tt.want)
			}
		})
	}
	if q.Get("code_challenge") == "" || q.Get("nonce") == "" || q.Get("redirect_uri") != s.URL+CallbackPath {
		t.Errorf("the issuer is asked with %v; want a challenge, a nonce and the way back", q)
	}

	t.Run("what is no page", func(t *testing.T) {
		for _, h := range []string{"Accept: application/json", "Sec-Fetch-Mode: cors", "Upgrade: websocket"} {
			if resp, _ := get(t, s.browser(t), s.URL+"/", h); resp.StatusCode != 401 {
				t.Errorf("with %s: %d; want 401", h, resp.StatusCode)
			}
		}
	})
	t.Run("what came in plain", func(t *testing.T) {
		resp, _ := get(t, stay, s.URL+"/a?b", "Test-Plain: 1")
		if to := resp.Header.Get("Location"); resp.StatusCode != 308 || to != s.URL+"/a?b" {
			t.Errorf("answer = %d to %q; want 308 to %s", resp.StatusCode, to, s.URL+"/a?b")
		}
	})
}

func TestASessionIsGoodForOneHostAndItsTime(t *testing.T) {
	f := newIssuer(t)
	s := newSite(t, f)
	c := s.browser(t)
	if resp, body := get(t, c, s.URL+"/"); resp.StatusCode != 200 {
		t.Fatalf("login = %d %q", resp.StatusCode, body)
	}
	u, _ := url.Parse(s.URL)
	var cookie string
	for _, k := range c.Jar.Cookies(u) {
		if k.Name == sessionCookie {
			cookie = k.Value
		}
	}
	try := func(l *route.Login, host, value string) bool {
		r := httptest.NewRequest("GET", "https://"+host+"/", nil)
		r.AddCookie(&http.Cookie{Name: sessionCookie, Value: value})
		_, ok := s.gate.session(l, r)
		return ok
	}
	other := *s.login
	other.ClientSecret = "changed"
	changed := []byte(cookie)
	changed[len(changed)/2] ^= 1
	for name, tt := range map[string]struct {
		login *route.Login
		host  string
		value string
		want  bool
	}{
		"its host":              {s.login, u.Host, cookie, true},
		"another host":          {s.login, "other.test", cookie, false},
		"another client secret": {&other, u.Host, cookie, false},
		"a changed one":         {s.login, u.Host, string(changed), false},
		"none":                  {s.login, u.Host, "", false},
	} {
		if got := try(tt.login, tt.host, tt.value); got != tt.want {
			t.Errorf("%s: let in %v; want %v", name, got, tt.want)
		}
	}
	now := time.Now()
	s.gate.now = func() time.Time { return now.Add(61 * time.Minute) }
	if try(s.login, u.Host, cookie) {
		t.Error("a session is good after its time")
	}
}

func TestWithoutTheIssuerNobodyNewComesIn(t *testing.T) {
	f := newIssuer(t)
	s := newSite(t, f)
	f.down = true
	resp, body := get(t, s.browser(t), s.URL+"/")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, f.URL) || !strings.Contains(body, "does not answer") {
		t.Errorf("answer = %d %q; want 503 that names the issuer", resp.StatusCode, body)
	}
	// Nobody has to restart anything when it is back.
	f.down = false
	now := time.Now()
	s.gate.now = func() time.Time { return now.Add(2 * remember) }
	if resp, body := get(t, s.browser(t), s.URL+"/"); resp.StatusCode != 200 {
		t.Errorf("when it is back: %d %q; want 200", resp.StatusCode, body)
	}
}

func TestALoginLeadsNowhereElse(t *testing.T) {
	for to, want := range map[string]string{"/a?b=c": "/a?b=c", "//evil.example": "/", "/\\evil.example": "/", "https://evil.example": "/", "": "/"} {
		if got := local(to); got != want {
			t.Errorf("local(%q) = %q; want %q", to, got, want)
		}
	}
}
