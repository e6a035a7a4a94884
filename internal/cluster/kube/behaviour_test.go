package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
)

func onSignal(ctx context.Context, stop func()) {
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGTERM)
	go func() {
		select {
		case <-got:
			stop()
		case <-ctx.Done():
		}
	}()
}

func testLogs(t *testing.T, client *kubernetes.Clientset) {
	pods, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil || len(pods.Items) == 0 {
		t.Fatalf("pods = %d, %v", len(pods.Items), err)
	}
	out, err := client.CoreV1().Pods("default").GetLogs(pods.Items[0].Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil || string(out) != "hello\n" {
		t.Errorf("logs = %q, %v; want hello", out, err)
	}
}

// word is in a secret and must be nowhere else.
const word = "swordfish-in-the-database"

func testAudit(t *testing.T, cfg Config) {
	eventually(t, 10*time.Second, func() (bool, error) {
		b, err := os.ReadFile(filepath.Join(cfg.Dir, "audit", "audit.log"))
		if bytes.Contains(b, []byte(word)) {
			t.Fatal("the audit log holds a secret's value")
		}
		for line := range bytes.Lines(b) {
			if bytes.Contains(line, []byte(`"resource":"secrets"`)) && bytes.Contains(line, []byte(`"name":"quiet"`)) && bytes.Contains(line, []byte(`"username":"admin"`)) {
				return true, nil
			}
		}
		return false, fmt.Errorf("%d bytes of audit log without the secret's creation, %w", len(b), err)
	})
}

func testSecrets(t *testing.T, client *kubernetes.Clientset, cfg Config) {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "quiet"}, StringData: map[string]string{"password": word}}
	if _, err := client.CoreV1().Secrets("default").Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "loud"}, Data: map[string]string{"word": "plain-" + word[:9]}}
	if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var plain bool
	err := filepath.WalkDir(filepath.Join(cfg.Dir, "etcd"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(word)) {
			t.Errorf("%s holds the secret in plain text", path)
		}
		plain = plain || bytes.Contains(b, []byte("plain-swordfish"))
		return err
	})
	if err != nil || !plain {
		t.Errorf("looked in the wrong place: the ConfigMap is not there either (%v)", err)
	}
}

func testVolume(t *testing.T, client *kubernetes.Clientset, cfg Config) {
	ctx := t.Context()
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	if _, err := client.CoreV1().PersistentVolumeClaims("default").Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "keeper"}, Spec: podSpec()}
	pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	if _, err := client.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() (bool, error) {
		p, err := client.CoreV1().Pods("default").Get(ctx, "keeper", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return p.Status.Phase == corev1.PodRunning, fmt.Errorf("pod is %s", p.Status.Phase)
	})
	volumesDir := filepath.Join(cfg.Dir, "volumes")
	dirs, err := filepath.Glob(filepath.Join(volumesDir, "default_data_*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("directories of the claim = %v, %v; want one", dirs, err)
	}
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	if err := client.CoreV1().Pods("default").Delete(ctx, "keeper", now); err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().PersistentVolumeClaims("default").Delete(ctx, "data", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() (bool, error) {
		_, err := os.Stat(dirs[0])
		return os.IsNotExist(err), fmt.Errorf("%s is still there", dirs[0])
	})
}

// warnings keeps what the API server warns about.
type warnings struct {
	mu   sync.Mutex
	text []string
}

func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, text)
}

func testNetworkPolicy(t *testing.T, config *rest.Config) {
	var w warnings
	config = rest.CopyConfig(config)
	config.WarningHandler = &w
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	// The policy is compiled a moment after it was stored.
	eventually(t, 15*time.Second, func() (bool, error) {
		p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{GenerateName: "deny-"}, Spec: networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}}}
		if _, err := client.NetworkingV1().NetworkPolicies("default").Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		return strings.Contains(strings.Join(w.text, "\n"), "does not enforce NetworkPolicy yet"), fmt.Errorf("warnings %q", w.text)
	})
}

func testAnonymous(t *testing.T, cfg Config) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for path, want := range map[string]int{
		"/readyz":            http.StatusOK,
		"/livez":             http.StatusOK,
		"/api/v1/namespaces": http.StatusUnauthorized,
		"/version":           http.StatusUnauthorized,
	} {
		for _, host := range []string{"127.0.0.1", nodeIP} {
			resp, err := client.Get(fmt.Sprintf("https://%s:%d%s", host, cfg.Port, path))
			if err != nil {
				t.Errorf("GET %s on %s: %v", path, host, err)
				continue
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("GET %s on %s = %d, want %d", path, host, resp.StatusCode, want)
			}
		}
	}
}

func testRenewal(t *testing.T, cfg Config) {
	full, err := cfg.complete()
	if err != nil {
		t.Fatal(err)
	}
	ports := map[int]string{cfg.Port: certAPIServer, cfg.KubeletPort: certKubeletServer}
	before := map[int]string{}
	for port, name := range ports {
		before[port] = serial(t, port)
		if err := os.Remove(full.pair(name).cert); err != nil {
			t.Fatal(err)
		}
	}
	// What the server does every day.
	if _, err := newCertificates(full, time.Now); err != nil {
		t.Fatal(err)
	}
	for port, name := range ports {
		eventually(t, 20*time.Second, func() (bool, error) {
			return serial(t, port) != before[port], fmt.Errorf("%s still shows its old certificate", name)
		})
	}
}

// serial returns the number of the certificate that the server on port shows.
func serial(t *testing.T, port int) string {
	t.Helper()
	conn, err := tls.Dial("tcp", fmt.Sprintf("%s:%d", nodeIP, port), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func testMetrics(t *testing.T, client *kubernetes.Clientset) {
	began := time.Now()
	for path, want := range map[string]string{
		"nodes":                   `"name":"test-node"`,
		"namespaces/default/pods": `"name":"web-`,
	} {
		eventually(t, 60*time.Second, func() (bool, error) {
			body, err := client.RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1/" + path).DoRaw(t.Context())
			return strings.Contains(string(body), want), fmt.Errorf("%s: %s %w", path, body, err)
		})
	}
	t.Logf("figures of nodes and pods after %s", time.Since(began))
}

// makeAutoscaled makes a deployment whose pods use more of a core (an eighth,
// says the engine) than their autoscaler is to allow.
func makeAutoscaled(t *testing.T, client *kubernetes.Clientset) {
	t.Helper()
	d := deployment("busy", 1)
	d.Spec.Template.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}
	if _, err := client.AppsV1().Deployments("default").Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	hpa := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "busy"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "busy"},
			MaxReplicas:    2,
			Metrics: []autoscalingv2.MetricSpec{{
				Type: autoscalingv2.ResourceMetricSourceType,
				Resource: &autoscalingv2.ResourceMetricSource{
					Name:   corev1.ResourceCPU,
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: ptr.To(int32(50))},
				},
			}},
		},
	}
	if _, err := client.AutoscalingV2().HorizontalPodAutoscalers("default").Create(t.Context(), hpa, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// testPodStart measures what Kubernetes itself costs a pod: the engine here
// takes no time at all.
func testPodStart(t *testing.T, client *kubernetes.Clientset) {
	const pods = 9
	took := make([]time.Duration, pods)
	for i := range took {
		name := fmt.Sprintf("quick-%d", i)
		watch, err := client.CoreV1().Pods("default").Watch(t.Context(), metav1.SingleObject(metav1.ObjectMeta{Name: name}))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := client.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: podSpec()}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		for e := range watch.ResultChan() {
			if p, ok := e.Object.(*corev1.Pod); ok && p.Status.Phase == corev1.PodRunning {
				break
			}
		}
		took[i] = time.Since(began)
		watch.Stop()
	}
	slices.Sort(took)
	t.Logf("pod created to Running: median %s, all %s", took[pods/2], took)
	if took[pods/2] > time.Second {
		t.Errorf("a pod takes %s to run; something waits", took[pods/2])
	}
}
