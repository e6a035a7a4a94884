package kubectl

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	given := filepath.Join(t.TempDir(), "given")
	other := filepath.Join(t.TempDir(), "other")
	for path, name := range map[string]string{given: "from-sampan", other: "from-user"} {
		text := "apiVersion: v1\nkind: Config\ncurrent-context: " + name + "\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		args   []string
		env    string
		code   int
		out    string
		errOut string
	}{
		"it answers on the given writers": {args: []string{"version", "--client"}, out: "Client Version: v"},
		"it uses the cluster's kubeconfig": {
			args: []string{"config", "current-context"}, out: "from-sampan\n"},
		"a flag names another kubeconfig": {
			args: []string{"--kubeconfig", other, "config", "current-context"}, out: "from-user\n"},
		"KUBECONFIG names another kubeconfig": {
			args: []string{"config", "current-context"}, env: other, out: "from-user\n"},
		"an unknown command fails": {args: []string{"frobnicate"}, code: 1, errOut: "unknown command"},
		"a failed request fails": {
			args: []string{"get", "pods", "--kubeconfig=/dev/null", "--server=http://127.0.0.1:1"}, code: 1, errOut: "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", tt.env)
			var out, errOut bytes.Buffer
			code := Run(t.Context(), given, tt.args, strings.NewReader(""), &out, &errOut)
			if code != tt.code || !strings.Contains(out.String(), tt.out) || !strings.Contains(errOut.String(), tt.errOut) {
				t.Errorf("Run(%q) = %d, out %q, err %q; want %d, %q, %q", tt.args, code, out.String(), errOut.String(), tt.code, tt.out, tt.errOut)
			}
		})
	}
}
