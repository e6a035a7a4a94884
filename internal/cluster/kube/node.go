package kube

import (
	"context"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// nodeReady waits until this node is Ready and gives it the role that the
// kubelet may not give itself.
type nodeReady struct {
	cfg     Config
	clients *clients
	since   time.Time // before the kubelet was started
	log     *slog.Logger
}

// role says that the control plane runs here. There is no taint with it: on one
// machine this node is where everything runs.
const role = `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`

func (n *nodeReady) Run(ctx context.Context, ready func()) error {
	began := time.Now()
	if n.wait(ctx) {
		_, err := n.clients.core.CoreV1().Nodes().Patch(ctx, n.cfg.NodeName, types.StrategicMergePatchType, []byte(role), metav1.PatchOptions{})
		if err != nil && ctx.Err() == nil {
			n.log.Warn("node has no role label", "node", n.cfg.NodeName, "err", err)
		}
		n.log.Info("node ready", "node", n.cfg.NodeName, "took", time.Since(began).Round(time.Millisecond))
		ready()
	}
	<-ctx.Done()
	return nil
}

// wait reports whether the node became Ready before ctx ended.
func (n *nodeReady) wait(ctx context.Context) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		node, err := n.clients.core.CoreV1().Nodes().Get(ctx, n.cfg.NodeName, metav1.GetOptions{})
		if err == nil && isReady(node, n.since) {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// isReady tells whether a kubelet that was started after since has said that the
// node is Ready. One that ran before a restart said so too, and what it wrote
// stays. This one may have said it long ago: it repeats itself only every five
// minutes. Heartbeats are in whole seconds.
func isReady(node *corev1.Node, since time.Time) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue && !c.LastHeartbeatTime.Time.Before(since.Truncate(time.Second))
		}
	}
	return false
}
