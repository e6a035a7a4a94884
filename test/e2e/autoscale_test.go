package e2e

import (
	"strings"
	"testing"
	"time"
)

// A Deployment of somebody's own follows what the gateway counts, by an
// autoscaler of Kubernetes' own.
func TestAPlainAutoscalerFollowsTheGateway(t *testing.T) {
	h := shared(t)
	if err := h.write("plain.yaml", strings.ReplaceAll(plain, "IMAGE", image), 0o600); err != nil {
		t.Fatal(err)
	}
	file := h.dir + "/plain.yaml"
	h.must(t, "kubectl", "apply", "-f", file)
	defer h.must(t, "kubectl", "delete", "-f", file)
	h.must(t, "kubectl", "wait", "--for=condition=Available", "deployment/plain", "--timeout=60s")
	eventually(t, "the route answers", func() bool { return h.askGateway("plain.example.org") == nil })
	stop := h.press(t, "plain.example.org")
	began := time.Now()
	eventually(t, "three copies", func() bool {
		return h.must(t, "kubectl", "get", "deployment", "plain", "-o", "jsonpath={.status.readyReplicas}") == "3"
	})
	t.Logf("three copies after %s", time.Since(began).Round(100*time.Millisecond))
	if asked, failed := stop(); failed != "" {
		t.Errorf("of %d requests failed: %s", asked, failed)
	}
}

const plain = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: plain}
spec:
  selector: {matchLabels: {app: plain}}
  template:
    metadata: {labels: {app: plain}}
    spec:
      automountServiceAccountToken: false
      containers:
      - {name: c, image: IMAGE, args: [serve, "8080"], readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {name: plain}
spec: {selector: {app: plain}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: plain}
spec:
  parentRefs: [{name: sampan, namespace: sampan-system}]
  hostnames: [plain.example.org]
  rules: [{backendRefs: [{name: plain, port: 80}]}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: plain}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: plain}
  minReplicas: 1
  maxReplicas: 3
  metrics:
  - type: Object
    object:
      describedObject: {apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, name: plain}
      metric: {name: requests_per_second}
      target: {type: AverageValue, averageValue: "5"}
  - type: Pods
    pods: {metric: {name: requests_in_flight}, target: {type: AverageValue, averageValue: "1000"}}
`
