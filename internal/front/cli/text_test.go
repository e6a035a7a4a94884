package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
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

func TestAnErrorEndsInTheUsersLanguage(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"its kind":                    {fmt.Errorf("web: %w", fault.NotFound), "web: 未找到"},
		"a kind alone":                {fault.Invalid, "无效"},
		"each of several":             {errors.Join(fmt.Errorf("a: %w", fault.Exists), fmt.Errorf("b: %w", fault.Timeout)), "a: 已存在\nb: 超时"},
		"that the daemon is away":     {fmt.Errorf("pull: %w", client.ErrNoDaemon), "pull: 守护进程没有运行: 不可用"},
		"but not the words of others": {errors.New("exec: not found: x"), "exec: not found: x"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := load("zh").error(tt.err); got != tt.want {
				t.Errorf("error = %q, want %q", got, tt.want)
			}
			if got := load("en").error(tt.err); got != tt.err.Error() {
				t.Errorf("error = %q, want it as it is: %q", got, tt.err)
			}
		})
	}
}
