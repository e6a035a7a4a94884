package launch

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestDescriptorsFromPrivateOnAreLeftBehind(t *testing.T) {
	needRoot(t)
	img := image(t)
	const private = 600
	mine, err := os.Open("/")
	must(t, err)
	defer mine.Close()
	kept, err := unix.FcntlInt(mine.Fd(), unix.F_DUPFD_CLOEXEC, private+7)
	must(t, err)
	defer unix.Close(kept)
	c := sleeper(t, dockerSpec("probe", "sleep"), overlay(t, img))
	joiner := dockerSpec("probe", "say hi")
	for i := range joiner.Linux.Namespaces {
		if ns := &joiner.Linux.Namespaces[i]; ns.Type == specs.PIDNamespace {
			ns.Path = fmt.Sprintf("/proc/%d/ns/pid", c.PID)
		}
	}
	for name, spec := range map[string]*specs.Spec{
		"in namespaces of its own":       dockerSpec("probe", "say hi"),
		"in a user namespace":            userSpec("say hi"),
		"in another's process namespace": joiner,
	} {
		for _, limit := range []int{0, private, 3} { // the last is below what the child needs
			before := descriptors(t)
			got := runSpec(t, Request{ID: "web", Spec: spec, Root: overlay(t, img), Private: limit})
			if strings.TrimSpace(got.out) != "hi" {
				t.Errorf("%s, private from %d on: %q, want hi", name, limit, got.out)
			}
			if after := descriptors(t); len(after) != len(before) {
				t.Errorf("%s, private from %d on: open before %q, after %q", name, limit, before, after)
			}
			if _, err := unix.FcntlInt(uintptr(kept), unix.F_GETFD, 0); err != nil {
				t.Fatalf("%s, private from %d on: our own descriptor: %v", name, limit, err)
			}
		}
	}
}
