package compose

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// shown is a result as a person would check it: objects as YAML, each under its
// place, then the notes.
func shown(t *testing.T, r *Result) string {
	t.Helper()
	var b strings.Builder
	for _, o := range r.Objects {
		data, err := json.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		var plain any
		if err := yaml.Unmarshal(data, &plain); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "--- # %s\n", o.Place)
		e := yaml.NewEncoder(&b)
		e.SetIndent(2)
		if err := e.Encode(plain); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "# %s %s: %s %s\n", n.Place, n.Field, n.Why, strings.Join(n.Args, " "))
	}
	return b.String()
}

func TestConversion(t *testing.T) {
	for _, name := range []string{"shop", "wide"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("testdata", name)
			r, err := Read(t.Context(), Config{Files: []string{filepath.Join(dir, "compose.yaml")}, Env: []string{"SHOP=the shop"}})
			if err != nil {
				t.Fatal(err)
			}
			abs, err := filepath.Abs(dir)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(shown(t, r), abs, "DIR")
			golden := filepath.Join(dir, "golden.yaml")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s: got\n%s\nwant\n%s", golden, got, want)
			}
		})
	}
}

func TestMistakesAreFoundWhereTheyAre(t *testing.T) {
	for name, want := range map[string]string{
		"schema":   "testdata/bad/schema.yaml:4:5: services.web.ports must be a array: ",
		"yaml":     "testdata/bad/yaml.yaml:4:4: did not find expected key",
		"volume":   "testdata/bad/volume.yaml:5:9: service \"web\" refers to undefined volume nowhere: ",
		"field":    "testdata/bad/field.yaml:4:5: services.web additional",
		"depends":  "testdata/bad/depends.yaml:4:18: service \"web\" depends on undefined service \"db\": ",
		"cycle":    "testdata/bad/cycle.yaml:4:5: dependency cycle detected: a -> b -> a",
		"variable": "testdata/bad/variable.yaml:3:5: ",
		"noimage":  "testdata/bad/noimage.yaml:2:3: services.web: name the image",
		"secret":   "testdata/bad/secret.yaml:6:7: secrets.s.file: ",
		"health":   "testdata/bad/health.yaml:4:19: healthcheck.test must start ",
		"duration": "testdata/bad/duration.yaml:4:5: services.web.stop_grace_period: time: invalid duration ",
		"empty":    "testdata/bad/empty.yaml: empty",
	} {
		_, err := Read(t.Context(), Config{Files: []string{"testdata/bad/" + name + ".yaml"}})
		if err == nil || !strings.HasPrefix(err.Error(), want) || fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v; want %s…", name, err, want)
		}
	}
}

func TestProfilesSwitchServicesOn(t *testing.T) {
	for profile, want := range map[string]int{"": 2, "dev": 3} {
		cfg := Config{Files: []string{"testdata/wide/compose.yaml"}}
		if profile != "" {
			cfg.Profiles = []string{profile}
		}
		r, err := Read(t.Context(), cfg)
		if err != nil || len(r.Objects) != want {
			t.Errorf("profile %q: %d objects, %v; want %d", profile, len(r.Objects), err, want)
		}
	}
}

func TestALaterFileOverrides(t *testing.T) {
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")}
	for i, text := range []string{"services: {web: {image: web:1, expose: [80]}}", "services:\n  web:\n    image: web:2\n    privileged: true\n"} {
		if err := os.WriteFile(files[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Read(t.Context(), Config{Files: files})
	if err != nil {
		t.Fatal(err)
	}
	if image := r.Objects[0].Object["spec"].(map[string]any)["image"]; image != "web:2" {
		t.Errorf("image = %v", image)
	}
	if len(r.Notes) != 1 || r.Notes[0].Place != files[1]+":4:5" {
		t.Errorf("notes = %v", r.Notes)
	}
}

func TestInputIsRead(t *testing.T) {
	r, err := Read(t.Context(), Config{Files: []string{"-"}, Input: strings.NewReader("services: {web: {image: web:1}}")})
	if err != nil || len(r.Objects) != 1 {
		t.Errorf("%v, %v", r, err)
	}
}
