package edge

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBadInputEndsWithOneLine(t *testing.T) {
	for name, tt := range map[string]struct {
		args   []string
		config string
		want   string
	}{
		"nothing":            {nil, "", usage},
		"a part without one": {[]string{"dns"}, "", usage},
		"an unknown part":    {[]string{"mail", "--config", "FILE"}, "", "mail: no such part"},
		"an unknown flag":    {[]string{"dns", "--port", "1"}, "", "flag provided but not defined: -port"},
		"no file":            {[]string{"dns", "--config", "FILE"}, "", "no such file"},
		"an unknown key":     {[]string{"dns", "--config", "FILE"}, "dns: {domian: cluster.local}", `edge.yaml: unknown field "domian": invalid`},
		"a bad port":         {[]string{"gateway", "--config", "FILE"}, "gateway: {httpPort: -1}", "gateway.httpPort -1: not a port"},
		"a bad value":        {[]string{"dns", "--config", "FILE"}, "dns: {domain: cluster.local, pods: all}", `dns.pods "all": must be insecure, verified or disabled`},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "edge.yaml")
			if tt.config != "" {
				if err := os.WriteFile(path, []byte(tt.config), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := strings.Split(strings.ReplaceAll(strings.Join(tt.args, "\n"), "FILE", path), "\n")
			if tt.args == nil {
				args = nil
			}
			var out, errOut bytes.Buffer
			code := Main(t.Context(), args, "test", &out, &errOut)
			text := errOut.String()
			if code == 0 || !strings.Contains(text, tt.want) || strings.Count(text, "\n") != 1 {
				t.Errorf("sampan-edge %q = %d, %q; want one line with %q", tt.args, code, text, tt.want)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	var out bytes.Buffer
	if code := Main(t.Context(), []string{"version"}, "v1.2.3", &out, &out); code != 0 || out.String() != "v1.2.3\n" {
		t.Errorf("sampan-edge version = %d, %q", code, out.String())
	}
}

func TestLinesKeepTheirLevel(t *testing.T) {
	for line, want := range map[string]string{
		"[WARNING] plugin/kubernetes: no answer\n": `level=WARN msg="plugin/kubernetes: no answer"`,
		"[ERROR] plugin/errors: 2 errors\n":        `level=ERROR msg="plugin/errors: 2 errors"`,
		"[INFO] plugin/health: lameduck\n":         `level=INFO msg="plugin/health: lameduck"`,
		"something else [ERROR]\n":                 `level=INFO msg="something else [ERROR]"`,
	} {
		var out bytes.Buffer
		fmt.Fprint(levels{slog.New(slog.NewTextHandler(&out, nil))}, line)
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is logged as %q, want %s", line, out.String(), want)
		}
	}
}
