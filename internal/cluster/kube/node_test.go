package kube

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestOnlyThisStartsKubeletMakesTheNodeReady(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC)
	second := began.Truncate(time.Second)
	for name, tt := range map[string]struct {
		status    corev1.ConditionStatus
		heartbeat time.Time
		want      bool
	}{
		"a heartbeat of now":                        {corev1.ConditionTrue, second.Add(10 * time.Second), true},
		"one long before the add-ons were applied":  {corev1.ConditionTrue, second.Add(time.Second), true},
		"one in the second of the start, cut short": {corev1.ConditionTrue, second, true},
		"one of the kubelet before":                 {corev1.ConditionTrue, second.Add(-2 * time.Second), false},
		"a node that is not Ready":                  {corev1.ConditionFalse, second.Add(time.Second), false},
	} {
		t.Run(name, func(t *testing.T) {
			node := &corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
				{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse, LastHeartbeatTime: metav1.NewTime(second.Add(time.Hour))},
				{Type: corev1.NodeReady, Status: tt.status, LastHeartbeatTime: metav1.NewTime(tt.heartbeat)},
			}}}
			if got := isReady(node, began); got != tt.want {
				t.Errorf("isReady(heartbeat %s, since %s) = %t, want %t", tt.heartbeat, began, got, tt.want)
			}
		})
	}
}
