package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-cloud/sampan/internal/front/compose"
)

// TestMain lets the test's own program stand in for the daemon's, which reads
// compose files for the command line.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "sampand" && len(os.Args) > 1 && os.Args[1] == "compose" {
		if err := compose.Main(context.Background(), os.Args[2:], os.Stdin, os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, "sampand:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// withDaemonProgram makes a data directory with the programs in it, and returns
// a configuration that names it.
func withDaemonProgram(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin", "current")
	self, err := os.Executable()
	if err == nil {
		err = os.MkdirAll(bin, 0o755)
	}
	if err == nil {
		err = os.Symlink(self, filepath.Join(bin, "sampand"))
	}
	config := filepath.Join(dir, "config.yaml")
	if err == nil {
		err = os.WriteFile(config, []byte("dataDir: "+dir+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestDeployComposeFile(t *testing.T) {
	api := running(&fakeAPI{})
	text := "services:\n  web:\n    image: web:1\n    ports: ['8080:80']\n    depends_on: [a-db]\n    privileged: true\n  a-db:\n    image: db:1\n    expose: [5432]\n"
	code, out, errOut := typed(t, api, "en", text, "--config", withDaemonProgram(t), "deploy", "-f", "-")
	if code != 0 || out != "http://a-db.shop.sampan.local\nhttp://web.shop.sampan.local\n" {
		t.Fatalf("exit code %d, %q, %s", code, out, errOut)
	}
	for _, want := range []string{
		"compose.yaml:4:13: services.web.ports.0: port 8080 of this machine is not taken",
		"compose.yaml:6:5: services.web.privileged: has no meaning here and is left out",
	} {
		if !strings.Contains(errOut, want) {
			t.Errorf("stderr has no %q:\n%s", want, errOut)
		}
	}
}

func TestAMistakeInAComposeFileChangesNothing(t *testing.T) {
	api := running(&fakeAPI{})
	text := "services:\n  web:\n    image: web:1\n    volumes: ['nowhere:/data']\n"
	code, _, errOut := typed(t, api, "en", text, "--config", withDaemonProgram(t), "deploy", "-f", "-")
	if code != 1 || !strings.HasPrefix(errOut, `sampan: compose.yaml:4:15: service "web" refers to undefined volume nowhere`) || len(api.patches) > 0 {
		t.Errorf("exit code %d, %d applied, %s", code, len(api.patches), errOut)
	}
}

func TestEveryNoteHasItsSentence(t *testing.T) {
	for _, lang := range []string{"en", "zh"} {
		m := load(lang)
		for _, why := range compose.Reasons() {
			if _, ok := m["deploy.note."+string(why)]; !ok {
				t.Errorf("%s.json has no deploy.note.%s", lang, why)
			}
		}
	}
}
