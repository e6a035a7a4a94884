package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/base/run"
)

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestSupervisor(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		fail func() error
		want int // how often it is started
	}{
		"an error is tried again":    {func() error { return broken }, 3},
		"a panic is tried again":     {func() error { panic("broken") }, 3},
		"a quiet end is tried again": {func() error { return nil }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			starts := 0
			s := &supervisor{name: "part", log: silent(), pause: time.Millisecond, service: run.Func(func(ctx context.Context, ready func()) error {
				ready()
				if starts++; starts == tt.want {
					cancel()
					<-ctx.Done()
					return nil
				}
				return tt.fail()
			})}
			if err := s.Run(ctx, func() {}); err != nil || starts != tt.want {
				t.Errorf("Run = %v after %d starts; want nil after %d", err, starts, tt.want)
			}
		})
	}
	t.Run("what was never ready fails at once", func(t *testing.T) {
		s := &supervisor{name: "part", log: silent(), pause: time.Hour, service: run.Func(func(context.Context, func()) error { return broken })}
		if err := s.Run(t.Context(), func() {}); !errors.Is(err, broken) {
			t.Errorf("Run = %v, want %v", err, broken)
		}
	})
}

func TestListener(t *testing.T) {
	addrs := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}
	l, err := listen(t.Context(), addrs, 0)
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, conn.LocalAddr())
			conn.Close()
		}
	}()
	for _, a := range addrs {
		at := netip.AddrPortFrom(a, uint16(port)).String()
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(conn); string(got) != at {
			t.Errorf("answer from %s is %q", at, got)
		}
	}
	if _, err := listen(t.Context(), addrs[1:], port); err == nil {
		t.Error("a taken port was bound")
	}
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close = %v, want %v", err, net.ErrClosed)
	}
	again, err := listen(t.Context(), addrs, port)
	if err != nil {
		t.Fatalf("after Close the port is still taken: %v", err)
	}
	again.Close()
}

func TestVolumeDelete(t *testing.T) {
	for name, tt := range map[string]struct {
		path string // below the test's directory
		node string
		kind fault.Kind // Internal for the error that says "not ours"
		gone bool
	}{
		"a volume is removed":                       {path: "volumes/ns_claim_1", node: "n1", gone: true},
		"a volume that is gone is no error":         {path: "volumes/never", node: "n1", gone: true},
		"another node's is left alone":              {path: "volumes/ns_claim_1", node: "n2", kind: fault.Internal},
		"a path elsewhere is refused":               {path: "precious", node: "n1", kind: fault.Forbidden},
		"a path that climbs out is refused":         {path: "volumes/../precious", node: "n1", kind: fault.Forbidden},
		"the directory of all volumes is refused":   {path: "volumes", node: "n1", kind: fault.Forbidden},
		"a directory inside a volume is refused":    {path: "volumes/ns_claim_1/sub", node: "n1", kind: fault.Forbidden},
		"a link in place of a directory is refused": {path: "volumes/link", node: "n1", kind: fault.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, d := range []string{"volumes/ns_claim_1/sub", "precious"} {
				if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink(filepath.Join(dir, "precious"), filepath.Join(dir, "volumes/link")); err != nil {
				t.Fatal(err)
			}
			v := &volumes{cfg: Config{NodeName: "n1", VolumesDir: filepath.Join(dir, "volumes")}, log: silent()}
			path := dir + "/" + tt.path
			err := v.Delete(t.Context(), volumeAt(path, tt.node))
			if fault.Of(err) != tt.kind {
				t.Errorf("Delete(%s) = %v, want %q", tt.path, err, tt.kind)
			}
			if _, err := os.Lstat(path); os.IsNotExist(err) != tt.gone {
				t.Errorf("after Delete(%s): %v, want gone %v", tt.path, err, tt.gone)
			}
			if _, err := os.Stat(filepath.Join(dir, "precious")); err != nil {
				t.Error("something that is no volume was removed")
			}
		})
	}
}

func volumeAt(path, node string) *corev1.PersistentVolume {
	pv := &corev1.PersistentVolume{}
	pv.Name = "pv"
	pv.Spec.HostPath = &corev1.HostPathVolumeSource{Path: path}
	pv.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}},
	}}}}
	return pv
}

func TestSysctlsComeBack(t *testing.T) {
	root, saved := t.TempDir(), filepath.Join(t.TempDir(), "sysctls.json")
	set := func(value string) {
		for name := range kubeletSysctls() {
			if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755), os.WriteFile(filepath.Join(root, name), []byte(value+"\n"), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	set("7")
	if err := saveSysctls(root, saved); err != nil {
		t.Fatal(err)
	}
	set("8")
	// The start after a crash must not take the kubelet's values for the machine's.
	if err := saveSysctls(root, saved); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		if err := restoreSysctls(root, saved); err != nil {
			t.Fatal(err)
		}
	}
	for name := range kubeletSysctls() {
		if b, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(b) != "7" {
			t.Errorf("%s = %q, %v; want 7", name, b, err)
		}
	}
}
