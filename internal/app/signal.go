package app

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine"
)

// signaller sends signals to the containers of this node, through its engine:
// an image needs no kill program for it.
type signaller struct{ engine *engine.Engine }

// Signal sends a signal to the first process of a pod's container. The pod of
// another node is not found here.
func (s signaller) Signal(ctx context.Context, pod types.NamespacedName, container, signal string) error {
	pods := s.engine.Pods(engine.OwnerCRI)
	// The youngest: a pod that was replaced on this node may still be there.
	for _, p := range slices.Backward(pods) {
		if p.Config.Name != pod.Name || p.Config.Namespace != pod.Namespace {
			continue
		}
		for _, c := range slices.Backward(s.engine.ContainersOf(p.ID)) {
			if c.Config.Name == container && c.State == engine.Running {
				return s.engine.Signal(ctx, engine.OwnerCRI, c.ID, signal)
			}
		}
	}
	return fmt.Errorf("container %s of pod %s on this node: %w", container, pod, fault.NotFound)
}
