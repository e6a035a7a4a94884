package cri_test

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestACheckpointIsWritten(t *testing.T) {
	n := newNode(t)
	id := n.started(n.pod("a"), nil)
	location := filepath.Join(t.TempDir(), "checkpoint.tar")
	req := &runtime.CheckpointContainerRequest{ContainerId: id, Location: location, Timeout: 1 << 40}
	if _, err := n.CheckpointContainer(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(location); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("archive: %v, %v; want one that only root reads", info, err)
	}
	n.runtime.Exit(id, 0, false)
	if _, err := n.StopContainer(t.Context(), &runtime.StopContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.CheckpointContainer(t.Context(), req); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("of an ended container: %v; want %s", err, codes.FailedPrecondition)
	}
}
