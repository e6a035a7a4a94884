package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const guide = root + "/docs/guide"

// blocks returns a page's command blocks and the number of its headings.
func blocks(t *testing.T, path string) (code []string, headings int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(string(data), "```") {
		if i%2 == 1 {
			code = append(code, part)
			continue
		}
		headings += len(regexp.MustCompile(`(?m)^#+ `).FindAllString(part, -1))
	}
	return code, headings
}

func TestBothLanguagesOfTheGuideAgree(t *testing.T) {
	pages, err := filepath.Glob(guide + "/en/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("pages = %v, %v", pages, err)
	}
	var names []string
	for _, p := range pages {
		name := filepath.Base(p)
		names = append(names, name)
		en, enHeadings := blocks(t, p)
		zh, zhHeadings := blocks(t, filepath.Join(guide, "zh-CN", name))
		if !slices.Equal(en, zh) {
			t.Errorf("%s: the command blocks differ between en and zh-CN", name)
		}
		if enHeadings != zhHeadings {
			t.Errorf("%s: %d headings in en, %d in zh-CN", name, enHeadings, zhHeadings)
		}
	}
	others, err := filepath.Glob(guide + "/zh-CN/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range others {
		if !slices.Contains(names, filepath.Base(p)) {
			t.Errorf("%s is in zh-CN only", filepath.Base(p))
		}
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".md") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(string(data), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", path, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
