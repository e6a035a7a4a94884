package cri_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sampan-cloud/sampan/internal/node/container/scope/scopetest"
	"github.com/sampan-cloud/sampan/test/need"
)

// TestHandlers runs what the kubelet does with a pod of each runtime class.
func TestHandlers(t *testing.T) {
	programs := buildPrograms(t)
	for _, handler := range []string{"", "runc", "crun"} {
		t.Run("handler "+handler, func(t *testing.T) {
			t.Parallel()
			if handler != "" {
				need.Command(t, handler)
			}
			handlerLife(t, newRealNode(t, handler, programs, false))
		})
	}
	t.Run("a device with a hook", func(t *testing.T) {
		t.Parallel()
		need.Command(t, "runc")
		deviceWithHook(t, newRealNode(t, "", programs, false))
	})
}

// TestHandlersUnderSystemd is the same where systemd keeps the pods' cgroups.
func TestHandlersUnderSystemd(t *testing.T) {
	need.Command(t, "runc", "crun")
	scopetest.WithInit(t, scopetest.Layout(), func(t *testing.T) {
		programs := buildPrograms(t)
		for _, handler := range []string{"", "runc", "crun"} {
			t.Run("handler "+handler, func(t *testing.T) {
				t.Parallel()
				n := newRealNode(t, handler, programs, true)
				handlerLife(t, n)
			})
		}
	})
}

func handlerLife(t *testing.T, n *realNode) {
	pod, sandbox := n.sandbox("web")
	list, err := n.ListPodSandbox(t.Context(), &runtime.ListPodSandboxRequest{})
	if err != nil || len(list.Items) != 1 || list.Items[0].RuntimeHandler != n.handler {
		t.Errorf("ListPodSandbox = %v, %v; want one of handler %q", list, err, n.handler)
	}

	// Streams.
	cat := n.run(pod, sandbox, "cat", func(c *runtime.ContainerConfig) { c.Stdin, c.StdinOnce = true, true }, "cat")
	attach, err := n.Attach(t.Context(), &runtime.AttachRequest{ContainerId: cat, Stdin: true, Stdout: true})
	must(t, err)
	if got := n.stream(attach.Url, "to the container\n"); got != "to the container\n" {
		t.Errorf("attach: %q, want what was sent", got)
	}
	if code := n.ended(cat); code != 0 || !strings.HasSuffix(n.log("web", "cat"), " stdout F to the container\n") {
		t.Errorf("cat ended with %d; log %q", code, n.log("web", "cat"))
	}

	// A service, and commands in it.
	id := n.run(pod, sandbox, "main", nil, "graceful", "9")
	if info := n.status(id).Info["info"]; strings.Contains(info, `"runtime":"`+n.handler+`"`) != (n.handler != "") {
		t.Errorf("verbose status = %s, want runtime %q", info, n.handler)
	}
	if got := n.exec(id, "hostname"); got != "0 web\n" {
		t.Errorf("ExecSync hostname = %q", got)
	}
	if got := n.exec(id, "exit", "42"); got != "42 " {
		t.Errorf("ExecSync exit = %q", got)
	}
	into, err := n.Exec(t.Context(), &runtime.ExecRequest{ContainerId: id, Cmd: []string{"/bin/box", "cat"}, Stdin: true, Stdout: true})
	must(t, err)
	if got := n.stream(into.Url, "to an exec"); got != "to an exec" {
		t.Errorf("exec: %q, want what was sent", got)
	}
	if st, err := n.ContainerStats(t.Context(), &runtime.ContainerStatsRequest{ContainerId: id}); err != nil || st.Stats.Memory.GetUsageBytes().GetValue() == 0 {
		t.Errorf("ContainerStats = %v, %v; want some memory used", st, err)
	}
	_, err = n.UpdateContainerResources(t.Context(), &runtime.UpdateContainerResourcesRequest{
		ContainerId: id, Linux: &runtime.LinuxContainerResources{MemoryLimitInBytes: 128 << 20},
	})
	must(t, err)
	group := n.cgroupParent("web")
	if n.systemd {
		group += "/sampan-" + pod + ".scope"
	}
	limits, _ := filepath.Glob("/sys/fs/cgroup/memory" + group + "/*/memory.limit_in_bytes")
	v2, _ := filepath.Glob("/sys/fs/cgroup" + group + "/*/memory.max")
	for _, file := range append(limits, v2...) {
		if text, err := os.ReadFile(file); strings.Contains(file, id) && (err != nil || string(text) != "134217728\n") {
			t.Errorf("%s = %q, %v; want the new limit", file, text, err)
		}
	}
	if len(limits)+len(v2) == 0 {
		t.Error("its cgroup is not where the pod asked for it")
	}

	// Nothing of it depends on us.
	n.killKeeper()
	if !n.answers(id) {
		t.Error("after the keeper was killed it does not answer")
	}
	n.stop()
	n.killKeeper()
	n.start()
	if st := n.status(id); st.Status.State != runtime.ContainerState_CONTAINER_RUNNING {
		t.Errorf("after both were killed: %v", st.Status.State)
	}
	if !n.answers(id) {
		t.Error("after both were killed it does not answer")
	}
	_, err = n.StopContainer(t.Context(), &runtime.StopContainerRequest{ContainerId: id, Timeout: 10})
	must(t, err)
	if st := n.status(id).Status; st.ExitCode != 9 {
		t.Errorf("exit code %d after SIGTERM, want 9", st.ExitCode)
	}
	if got := n.log("web", "main"); strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, " stdout F ready\n") {
		t.Errorf("log = %q", got)
	}
}

// deviceWithHook asks the native path for what it cannot do.
func deviceWithHook(t *testing.T, n *realNode) {
	ran := filepath.Join(n.dir, "ran")
	must(t, os.MkdirAll(filepath.Join(n.dir, "cdi"), 0o755))
	must(t, os.WriteFile(filepath.Join(n.dir, "cdi", "vendor.json"), fmt.Appendf(nil, `{"cdiVersion":"0.6.0","kind":"vendor.com/gpu","devices":[
		{"name":"0","containerEdits":{"hooks":[{"hookName":"createRuntime","path":"/bin/sh","args":["sh","-c","cat > %s"]}]}}]}`, ran), 0o644))
	pod, sandbox := n.sandbox("gpu")
	id := n.run(pod, sandbox, "main", func(c *runtime.ContainerConfig) {
		c.CDIDevices = []*runtime.CDIDevice{{Name: "vendor.com/gpu=0"}}
	}, "exit", "3")
	if code := n.ended(id); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	if state, err := os.ReadFile(ran); err != nil || !strings.Contains(string(state), id) {
		t.Errorf("what the hook was told: %q, %v", state, err)
	}
	if info := n.status(id).Info["info"]; !strings.Contains(info, `"runtime":"runc","runtimeReason":"hooks.createRuntime"`) {
		t.Errorf("verbose status = %s, want runc and why", info)
	}
}
