package engine_test

import (
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine"
)

// userPod is a pod whose IDs are the host's from 100000 on.
func (w *world) userPod(name string) engine.Pod {
	w.t.Helper()
	ids := []engine.IDMap{{Host: 100000, Container: 0, Size: 65536}}
	p, err := w.RunPod(w.t.Context(), engine.PodConfig{
		Owner: "cri", Name: name, User: &engine.UserNamespace{UIDs: ids, GIDs: ids},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1", "kernel.shmmni": "9"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func TestAPodWithUsersOfItsOwn(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	w.images.Add("vol:1", ocispec.ImageConfig{Cmd: []string{"x"}, Volumes: map[string]struct{}{"/data": {}}}, nil)
	p := w.userPod("a")
	asked := w.network.Pods[p.ID]
	if asked.NSPath == "" || asked.Sysctls["net.ipv4.ip_forward"] != "1" || len(asked.Sysctls) != 1 {
		t.Errorf("the network was asked for %+v; want the namespace made for the pod, and its net sysctls", asked)
	}
	src := t.TempDir()
	same := []engine.IDMap{{Host: 100000, Container: 0, Size: 65536}}
	other := []engine.IDMap{{Host: 300000, Container: 0, Size: 10}}
	spec := w.built(t, p, engine.ContainerConfig{
		Image: "vol:1", Devices: []engine.Device{{Source: "/dev/zero", Target: "/dev/nought", Permissions: "r"}},
		Mounts: []engine.Mount{
			{Source: src, Target: "/same", UIDs: same, GIDs: same},
			{Source: src, Target: "/other", UIDs: other, GIDs: other},
			{Source: src, Target: "/plain"},
		},
	})
	if !slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.UserNamespace && n.Path != "" }) {
		t.Errorf("namespaces = %+v, want the pod's user namespace", spec.Linux.Namespaces)
	}
	if m := spec.Linux.UIDMappings; len(m) != 1 || m[0].HostID != 100000 {
		t.Errorf("uid mappings = %+v", m)
	}
	for at, want := range map[string]struct {
		mapped bool
		own    int // mappings of the mount's own
	}{"/same": {true, 0}, "/other": {true, 1}, "/plain": {false, 0}, "/data": {true, 0}} {
		m := mountAt(spec, at)
		if m == nil || slices.Contains(m.Options, "idmap") != want.mapped || len(m.UIDMappings) != want.own {
			t.Errorf("%s = %+v; want mapped %t, with %d mappings of its own", at, m, want.mapped, want.own)
		}
	}
	if m := mountAt(spec, "/dev/nought"); m == nil || m.Source != "/dev/zero" || len(spec.Linux.Devices) != 0 {
		t.Errorf("the device = %+v, nodes %v; want the host's bound: one of its own cannot be opened", m, spec.Linux.Devices)
	}
}

func TestWhatAPodWithUsersOfItsOwnCannotHave(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	p := w.userPod("a")
	for name, tt := range map[string]struct {
		sec   engine.Security
		field string
	}{
		"a user that is not mapped":  {engine.Security{UID: number(65536)}, "run_as_user"},
		"a group that is not mapped": {engine.Security{UID: number(1), GID: number(70000)}, "group 70000"},
		"another that is not mapped": {engine.Security{Groups: []int64{70000}}, "group 70000"},
		"the node's processes":       {engine.Security{PID: engine.ModeNode}, "namespace_options.pid"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.CreateContainer(t.Context(), "cri", p.ID, engine.ContainerConfig{Name: "main", Image: "web:1", Security: tt.sec})
			if fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), tt.field) {
				t.Errorf("CreateContainer = %v; want it refused for %s", err, tt.field)
			}
		})
	}
	t.Run("a runtime that makes none", func(t *testing.T) {
		_, err := w.RunPod(t.Context(), engine.PodConfig{Owner: "cri", Name: "b", Handler: "runc", User: p.Config.User})
		if fault.Of(err) != fault.Precondition || !strings.Contains(err.Error(), "runtime handler") {
			t.Errorf("RunPod = %v; want it refused for the handler", err)
		}
	})
}
