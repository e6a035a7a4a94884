package containertest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

var choices = map[string]func(*testing.T, *Node){
	"hooks run, on a path that can": func(t *testing.T, n *Node) {
		spec := n.Spec("exit", "0")
		ran := filepath.Join(t.TempDir(), "ran")
		spec.OCI.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "cat > " + ran}}}}
		choice, err := n.Choose(t.Context(), spec)
		if err != nil && n.handler == "" && len(n.Handlers()) == 0 {
			t.Skipf("no stock runtime is installed: %v", err)
		}
		n.must(err)
		if n.handler != "" && (choice.Runtime != n.handler || choice.Reason != "") {
			t.Errorf("Choose = %+v, want what was asked for", choice)
		}
		if n.handler == "" {
			if _, err := n.Runtime.Start(t.Context(), spec); fault.Of(err) != fault.Unsupported {
				t.Errorf("Start on the native path = %v, want %v", err, fault.Unsupported)
			}
			if choice.Runtime == "" || choice.Reason != "hooks.createRuntime" {
				t.Errorf("Choose = %+v, want a stock runtime because of the hook", choice)
			}
		}
		spec.Runtime = choice.Runtime
		if st := n.Start(spec); st.Runtime != choice.Runtime {
			t.Errorf("it runs on %q, want %q", st.Runtime, choice.Runtime)
		}
		n.WaitFor(spec.ID)
		if state, err := os.ReadFile(ran); err != nil || len(state) == 0 {
			t.Errorf("what the hook was told: %q, %v", state, err)
		}
	},
	"an unknown runtime is refused with those there are": func(t *testing.T, n *Node) {
		spec := n.Spec("exit", "0")
		spec.Runtime = "nobodys"
		if _, err := n.Runtime.Start(t.Context(), spec); fault.Of(err) != fault.Invalid {
			t.Errorf("Start = %v, want %v", err, fault.Invalid)
		}
	},
}
