package cri_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestACheckpointSaysWhatIsMissing(t *testing.T) {
	n := newNode(t)
	id := n.started(n.pod("a"), nil)
	with := t.TempDir()
	if err := os.WriteFile(filepath.Join(with, "criu"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		path string
		want codes.Code
		text string
	}{
		"without CRIU": {t.TempDir(), codes.FailedPrecondition, "no program criu (4.1 or newer)"},
		"with CRIU":    {with, codes.Unimplemented, "takes no checkpoints"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", tt.path)
			_, err := n.CheckpointContainer(t.Context(), &runtime.CheckpointContainerRequest{ContainerId: id, Location: "/tmp/c.tar"})
			if status.Code(err) != tt.want || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("CheckpointContainer = %v; want %s and %q", err, tt.want, tt.text)
			}
		})
	}
}
