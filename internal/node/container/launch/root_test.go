package launch

import (
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// The template stays below the container's root. Whatever a container may do, it
// finds its own root there, or nothing that is of use.
func TestNothingLeadsBelowTheRoot(t *testing.T) {
	needRoot(t)
	img := image(t)
	run := func(caps []string, questions ...string) []string {
		t.Helper()
		spec := dockerSpec(append([]string{"probe"}, questions...)...)
		spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
		got := runSpec(t, Request{ID: "web", Spec: spec, Root: overlay(t, img)})
		return strings.Split(strings.TrimSuffix(got.out, "\n"), "\n")
	}
	admin := append([]string{"CAP_SYS_ADMIN"}, dockerCaps...)
	root := run(dockerCaps, "ls /")[0]
	if !strings.Contains(root, "bin") {
		t.Fatalf("the container's root has %q, want a bin", root)
	}
	more := strings.Join(slices.Sorted(slices.Values(append(strings.Fields(root), "usr"))), " ") + " "
	for name, tt := range map[string]struct {
		caps []string
		do   string
		want []string
	}{
		"climbing out of a root of its own": {dockerCaps, "climb usr", []string{more}},
		"entering its own namespace":        {admin, "reenter", []string{root}},
		"taking its root away":              {admin, "uncover", []string{"", "uncover: error: open /new: read-only file system"}},
	} {
		if got := run(tt.caps, tt.do); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
