package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

func TestDecisionsAreNumberedInOrder(t *testing.T) {
	files, err := filepath.Glob(root + "/docs/decisions/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("decisions = %v, %v", files, err)
	}
	for i, f := range files {
		name := filepath.Base(f)
		if want := fmt.Sprintf("%04d-", i+1); !strings.HasPrefix(name, want) {
			t.Errorf("%s is where %s… should be", name, want)
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("# %d. ", i+1); !strings.HasPrefix(string(text), want) {
			t.Errorf("%s does not begin with %q", name, want)
		}
	}
}

// The benchmarks that promises name are compared in test/bench.
func TestPromisesAreHeldByTestsThatExist(t *testing.T) {
	text, err := os.ReadFile(root + "/docs/promises.md")
	if err != nil {
		t.Fatal(err)
	}
	held := regexp.MustCompile("`((?:internal|test|api)/[^`]+)`: ((?:Test[A-Za-z0-9/]+(?:, )?)+)")
	rows := 0
	for _, m := range held.FindAllStringSubmatch(string(text), -1) {
		for _, test := range strings.Split(m[2], ", ") {
			rows++
			function, _, _ := strings.Cut(test, "/")
			if function != "" && !declares(t, filepath.Join(root, m[1]), function) {
				t.Errorf("docs/promises.md: %s has no %s", m[1], function)
			}
		}
	}
	if rows < 20 {
		t.Errorf("docs/promises.md names %d tests; is it read rightly?", rows)
	}
}

// declares tells whether a test file of the directory has the function.
func declares(t *testing.T, dir, function string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+function+"(") {
			return true
		}
	}
	return false
}
