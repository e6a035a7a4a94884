package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var verb = regexp.MustCompile(`%[a-z0-9.+-]*[sdvq]`)

func TestBothLanguagesSayTheSame(t *testing.T) {
	en, zh := load("en"), load("zh")
	for key, s := range en {
		other, ok := zh[key]
		if !ok {
			t.Errorf("%s is missing in zh.json", key)
			continue
		}
		if a, b := verb.FindAllString(s, -1), verb.FindAllString(other, -1); !slices.Equal(a, b) {
			t.Errorf("%s has the places %q in en.json and %q in zh.json", key, a, b)
		}
	}
	for key := range zh {
		if _, ok := en[key]; !ok {
			t.Errorf("%s is missing in en.json", key)
		}
	}
}

func TestEveryKeyIsUsedAndThere(t *testing.T) {
	en := load("en")
	used := map[string]bool{}
	direct := regexp.MustCompile(`\bget\("([a-z.]+[a-z])"`)
	commands := regexp.MustCompile(`(?:a\.(?:command|named)\(|listing\(a, )"[^"]*", "([a-z.]+)"`)
	prefixes := regexp.MustCompile(`get\("([a-z.]+\.)"`)
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range direct.FindAllSubmatch(src, -1) {
			used[string(m[1])] = true
		}
		for _, m := range commands.FindAllSubmatch(src, -1) {
			used[string(m[1])+".short"], used[string(m[1])+".example"] = true, true
		}
		for _, m := range prefixes.FindAllSubmatch(src, -1) {
			open = append(open, string(m[1]))
		}
	}
	for key := range used {
		if _, ok := en[key]; !ok {
			t.Errorf("%s is used and not in en.json", key)
		}
	}
	for key := range en {
		if !used[key] && !slices.ContainsFunc(open, func(p string) bool { return strings.HasPrefix(key, p) }) {
			t.Errorf("%s is in en.json and not used", key)
		}
	}
}
