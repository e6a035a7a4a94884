package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A figure that is measured and promised nowhere, or promised and measured
// nowhere, is a mistake in one of the two.
func TestPromisesNameEveryFigure(t *testing.T) {
	text, err := os.ReadFile("../../docs/promises.md")
	if err != nil {
		t.Fatal(err)
	}
	var promised []string
	for _, m := range regexp.MustCompile("`make bench(?:-engine|-apps)?`: `([a-z0-9-]+)`").FindAllStringSubmatch(string(text), -1) {
		promised = append(promised, m[1])
	}
	var measured []string
	for _, f := range figures(1000) {
		measured = append(measured, f.Name)
	}
	slices.Sort(promised)
	slices.Sort(measured)
	if !slices.Equal(promised, measured) {
		t.Errorf("docs/promises.md names\n\t%s\nand the benchmarks are\n\t%s", strings.Join(promised, " "), strings.Join(measured, " "))
	}
}

func TestSelectedFigures(t *testing.T) {
	for name, tt := range map[string]struct {
		only    string
		figures []string
		want    bool
	}{
		"all without a selection":           {"", []string{"pod"}, true},
		"a part of the name is enough":      {"burst", []string{"burst-none"}, true},
		"one of several is enough":          {"cri-50", []string{"cri-1", "cri-50"}, true},
		"none when no name has the letters": {"idle", []string{"pod", "pod-token"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench{only: tt.only}
			if got := b.wants(tt.figures...); got != tt.want {
				t.Errorf("with -only %q, wants(%q) = %v; want %v", tt.only, tt.figures, got, tt.want)
			}
		})
	}
}
