package cli

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/sampan-cloud/sampan/api/client"
)

// seen is a live picture of the canary, as wide as a narrow terminal.
func seen(t *testing.T, k *client.Kube) live {
	t.Helper()
	var now client.App
	data, err := json.Marshal(canary())
	if err == nil {
		err = json.Unmarshal(data, &now)
	}
	if err != nil {
		t.Fatal(err)
	}
	a := &app{Env: Env{Getenv: func(string) string { return "" }}, text: load("en")}
	m := live{cli: a, kube: k, ctx: t.Context(), app: now, changes: make(chan change)}
	next, _ := m.Update(tea.WindowSizeMsg{Width: 40, Height: 20})
	return next.(live)
}

func press(m live, key rune) (live, tea.Cmd) {
	next, cmd := m.Update(tea.KeyPressMsg{Code: key, Text: string(key)})
	return next.(live), cmd
}

func TestTheLivePictureFitsTheTerminal(t *testing.T) {
	m := seen(t, nil)
	picture := m.View().Content
	body, _, _ := strings.Cut(picture, "\n\n\x1b[2mq quit")
	for l := range strings.Lines(body) {
		for _, sgr := range []string{"\x1b[m", "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[33m"} {
			l = strings.ReplaceAll(l, sgr, "")
		}
		if w := width(strings.TrimSuffix(l, "\n")); w > 40 {
			t.Errorf("a line of %d columns on a terminal of 40: %q", w, l)
		}
	}
	if !strings.Contains(picture, "m promote") {
		t.Errorf("no keys for the rollout in %q", picture)
	}
}

func TestTheLivePictureFollowsTheApp(t *testing.T) {
	m := seen(t, nil)
	later := m.app
	later.Status.Rollout = nil
	later.Status.Revisions = []client.AppRevision{{Name: "r9", Role: "live", Weight: 100, Replicas: 1, Ready: 1}}
	next, _ := m.Update(change{app: later})
	picture := next.(live).View().Content
	if !strings.Contains(picture, "r9") || strings.Contains(picture, "m promote") {
		t.Errorf("after the change: %q", picture)
	}
	next, cmd := m.Update(change{err: errors.New("gone")})
	if next.(live).err == nil || cmd == nil {
		t.Error("the picture goes on after the app is gone")
	}
}

func TestKeysOfTheLivePicture(t *testing.T) {
	if _, cmd := press(seen(t, nil), 'q'); cmd == nil || cmd() != tea.Quit() {
		t.Error("q does not quit")
	}
	if _, cmd := press(seen(t, nil), 'x'); cmd != nil {
		t.Error("a key without a meaning does something")
	}
	api := obeying(true, "so be it")
	s := httptest.NewServer(http.Handler(api))
	defer s.Close()
	config := filepath.Join(t.TempDir(), "kubeconfig")
	text := "current-context: x\ncontexts: [{name: x, context: {cluster: x, namespace: shop}}]\nclusters: [{name: x, cluster: {server: '" + s.URL + "'}}]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := client.OpenKube(config)
	if err != nil {
		t.Fatal(err)
	}
	m := seen(t, k)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	m.ctx = ctx
	m, cmd := press(m, 'm')
	next, _ := m.Update(cmd())
	if got := next.(live).said; got != "promote: so be it" {
		t.Errorf("after m: %q", got)
	}
}

func TestWordsThatAreTooManyGoOnBelow(t *testing.T) {
	for name, tt := range map[string]struct {
		text    string
		columns int
		want    string
	}{
		"between words":             {"one two three", 8, "one two|three"},
		"at the very end":           {"one two", 7, "one two"},
		"a word that is too long":   {"a 0123456789", 5, "a|01234|56789"},
		"wide characters":           {"镜像没有拉到", 6, "镜像没|有拉到"},
		"without a limit":           {"one two three", 0, "one two three"},
		"a limit that fits nothing": {"镜像", 1, "镜|像"},
		"nothing":                   {"", 10, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(wrap(tt.text, tt.columns), "|"); got != tt.want {
				t.Errorf("wrap = %q, want %q", got, tt.want)
			}
		})
	}
}
