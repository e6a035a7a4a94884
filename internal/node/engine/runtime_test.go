package engine_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine"
)

// hookedDevice is what a vendor's CDI file says of a device that a hook sets up.
const hookedDevice = `{"cdiVersion":"0.6.0","kind":"vendor.com/gpu","devices":[{"name":"0","containerEdits":{
	"hooks":[{"hookName":"createContainer","path":"/bin/true"}]}}]}`

func TestWhichRuntimeAContainerHas(t *testing.T) {
	w := newWorld(t)
	cdi := filepath.Join(w.dir, "cdi")
	if err := os.MkdirAll(cdi, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cdi, "vendor.json"), []byte(hookedDevice), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		handler         string
		notes           map[string]string // the pod's annotations
		cdi             []string
		runtime, reason string
	}{
		"the native one, when nothing is said":         {},
		"the one that its pod names":                   {handler: "runc", runtime: "runc"},
		"a stock one for a device with a hook":         {cdi: []string{"vendor.com/gpu=0"}, runtime: "runc", reason: "hooks"},
		"the pod's even then, and nobody's choice":     {handler: "runc", cdi: []string{"vendor.com/gpu=0"}, runtime: "runc"},
		"a stock one for an annotation let through":    {notes: map[string]string{"run.oci.handler": "wasm"}, runtime: "runc", reason: "annotations"},
		"the native one for annotations of no concern": {notes: map[string]string{"example.com/run.oci.handler": "wasm"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := w.RunPod(t.Context(), engine.PodConfig{Owner: "cri", Name: strings.ReplaceAll(name, " ", "-"), Handler: tt.handler, Annotations: tt.notes})
			if err != nil {
				t.Fatal(err)
			}
			c, err := w.CreateContainer(t.Context(), "cri", p.ID, engine.ContainerConfig{Name: "main", Image: "web:1", CDI: tt.cdi})
			if err != nil {
				t.Fatal(err)
			}
			if c.Runtime != tt.runtime || c.RuntimeReason != tt.reason {
				t.Errorf("runtime %q because of %q, want %q because of %q", c.Runtime, c.RuntimeReason, tt.runtime, tt.reason)
			}
			if err := w.StartContainer(t.Context(), "cri", c.ID); err != nil {
				t.Fatal(err)
			}
			if got := w.runtime.Started[c.ID]; got.Runtime != tt.runtime {
				t.Errorf("started on %q, want %q", got.Runtime, tt.runtime)
			} else if tt.reason == "annotations" && got.OCI.Annotations["run.oci.handler"] != "wasm" {
				t.Errorf("annotations = %v, want the pod's handed on", got.OCI.Annotations)
			}
			again, err := w.open().Container("cri", c.ID)
			if err != nil || again.Runtime != tt.runtime || again.RuntimeReason != tt.reason {
				t.Errorf("after a restart %q because of %q, %v", again.Runtime, again.RuntimeReason, err)
			}
		})
	}
}

func TestAContainerThatNoRuntimeCanRunIsNotMade(t *testing.T) {
	w := newWorld(t)
	pod := w.pod("web")
	before := w.snapshots.Prepared(t.Context())
	w.runtime.Unable = fault.Unsupported
	_, err := w.CreateContainer(t.Context(), "cri", pod.ID, engine.ContainerConfig{Name: "main", Image: "web:1"})
	if fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), "container main: runtime") {
		t.Errorf("CreateContainer = %v, want %v", err, fault.Unsupported)
	}
	if left := w.snapshots.Prepared(t.Context()); !slices.Equal(left, before) {
		t.Errorf("left: %v", left)
	}
}

func TestAnUnknownHandlerIsRefusedWithThoseThereAre(t *testing.T) {
	w := newWorld(t)
	_, err := w.RunPod(t.Context(), engine.PodConfig{Owner: "cri", Name: "a", Handler: "kata"})
	if want := `runtime_handler "kata" is unknown (there are runc;`; fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
		t.Errorf("RunPod = %v, want %q", err, want)
	}
}
