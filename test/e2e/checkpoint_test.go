package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/sampan-cloud/sampan/test/need"
)

// A pod is checkpointed over the kubelet's own API, goes on, and another one is
// made of the checkpoint, as an image.
func TestACheckpointOverTheKubelet(t *testing.T) {
	need.CRIU(t)
	h := shared(t)
	pod := func(name, image string) {
		t.Helper()
		manifest := `{apiVersion: v1, kind: Pod, metadata: {name: ` + name + `}, spec: {terminationGracePeriodSeconds: 1,
			containers: [{name: main, image: "` + image + `", args: [tick, 20ms], volumeMounts: [{name: d, mountPath: /data}]}],
			volumes: [{name: d, emptyDir: {}}]}}`
		if err := h.write(name+".yaml", manifest, 0o644); err != nil {
			t.Fatal(err)
		}
		h.must(t, "kubectl", "apply", "-f", filepath.Join(h.dir, name+".yaml"))
		t.Cleanup(func() { h.must(t, "kubectl", "delete", "pod", name, "--wait", "--ignore-not-found") })
		h.must(t, "kubectl", "wait", "--for=condition=Ready", "pod/"+name, "--timeout=60s")
	}
	// ticks are the first and the last number that a pod has said.
	ticks := func(name string) (first, last int) {
		t.Helper()
		for range 500 {
			lines := strings.Fields(strings.ReplaceAll(h.must(t, "kubectl", "logs", name), "tick ", ""))
			if len(lines) > 10 {
				first, _ = strconv.Atoi(lines[0])
				last, _ = strconv.Atoi(lines[len(lines)-1])
				return first, last
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatalf("pod %s says nothing", name)
		return 0, 0
	}

	pod("ticking", image)
	ticks("ticking")
	answer := h.must(t, "kubectl", "create", "--raw", "/api/v1/nodes/"+h.name+"/proxy/checkpoint/default/ticking/main", "-f", os.DevNull)
	var made struct{ Items []string }
	if err := json.Unmarshal([]byte(answer), &made); err != nil || len(made.Items) != 1 {
		t.Fatalf("the kubelet answers %q, %v", answer, err)
	}
	if info, err := os.Stat(made.Items[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("archive: %v, %v; want one that only root reads", info, err)
	}
	_, last := ticks("ticking")
	h.must(t, "kubectl", "delete", "pod", "ticking", "--wait")

	h.must(t, "image", "load", checkpointImage(t, made.Items[0], "registry.local/test/ticking:saved"))
	pod("restored", "registry.local/test/ticking:saved")
	if first, _ := ticks("restored"); first < 2 || first > last {
		t.Errorf("its first tick is %d, the checkpointed one was at %d later", first, last)
	}
	h.must(t, "kubectl", "exec", "restored", "--", "/bin/toolbox", "write", "/data/file", "mine")
}

// checkpointImage makes an image of a checkpoint, as the kubelet's documentation
// has buildah do it, and returns its archive.
func checkpointImage(t *testing.T, archive, ref string) string {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	layer, err := tarball.LayerFromFile(archive)
	must(err)
	img, err := mutate.AppendLayers(empty.Image, layer)
	must(err)
	config, err := img.ConfigFile()
	must(err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	img, err = mutate.ConfigFile(img, config)
	must(err)
	img = mutate.Annotations(img, map[string]string{"io.kubernetes.cri-o.annotations.checkpoint.name": "main"}).(v1.Image)
	dir := t.TempDir()
	index, err := layout.Write(dir, empty.Index)
	must(err)
	must(index.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": ref})))
	out := filepath.Join(t.TempDir(), "image.tar")
	must(exec.Command("tar", "-C", dir, "-cf", out, ".").Run())
	return out
}
