package kube

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

// The test runs itself twice over: `go test` starts a harness in its own network
// and mount namespace, and the harness starts a server that it may kill.
const (
	envHarness = "SAMPAN_TEST_HARNESS"
	envServer  = "SAMPAN_TEST_SERVER" // the server's directory
)

const nodeIP = "192.0.2.2"

func TestMain(m *testing.M) {
	if dir := os.Getenv(envServer); dir != "" {
		os.Exit(serve(dir))
	}
	os.Exit(m.Run())
}

// testConfig is what both the harness and its server know.
func testConfig(dir string) Config {
	return Config{
		Dir:         filepath.Join(dir, "data"),
		RunDir:      filepath.Join(dir, "run"),
		NodeName:    "test-node",
		NodeIP:      netip.MustParseAddr(nodeIP),
		Port:        16443,
		KubeletPort: 16250,
		CRISocket:   filepath.Join(dir, "cri.sock"),
		CgroupRoot:  "/sampan-test-" + filepath.Base(dir),
		Admission:   map[string]admission.Interface{"Signed": signed{}},
		Addons: [][]byte{[]byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: addon}\n---\n" +
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: given, namespace: addon}\ndata: {key: value}\n")},
	}
}

// serve runs a cluster until it is told to stop.
func serve(dir string) int {
	level := slog.LevelInfo
	if os.Getenv("SAMPAN_TEST_DEBUG") != "" {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	onSignal(ctx, stop)
	cluster, err := New(testConfig(dir), log)
	if err == nil {
		err = cluster.Run(ctx, func() { fmt.Println("ready") })
	}
	if err != nil {
		log.Error("cluster ended", "err", err)
		return 1
	}
	return 0
}

// TestCluster needs root for the kubelet's mounts and cgroups.
func TestCluster(t *testing.T) {
	if os.Getenv(envHarness) == "" {
		rerunInNamespaces(t)
		return
	}
	network(t)
	// A short path: sockets are below it.
	dir, err := os.MkdirTemp("", "kube")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg := testConfig(dir)
	before := machine(t, dir)
	t.Cleanup(func() {
		if err := Cleanup(cfg); err != nil {
			t.Errorf("Cleanup: %v", err)
		}
		if after := machine(t, dir); after != before {
			t.Errorf("after Cleanup the machine has\n%s\nbefore\n%s", after, before)
		}
	})
	engine := startFakeCRI(t, cfg.CRISocket, dir)

	server := start(t, dir)
	t.Logf("cold start to ready: %s", server.took)
	client := server.client(t, cfg)
	ctx := t.Context()

	t.Run("a deployment runs", func(t *testing.T) {
		began := time.Now()
		if _, err := client.AppsV1().Deployments("default").Create(ctx, deployment("web", 3), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		waitDeployment(t, client, "web", 3)
		t.Logf("deployment with 3 pods ready after %s", time.Since(began))
	})
	makeAutoscaled(t, client)
	t.Run("a further admission step has the last word", func(t *testing.T) { testAdmission(t, client) })
	t.Run("the node has its role and no taint", func(t *testing.T) {
		eventually(t, 10*time.Second, func() (bool, error) {
			node, err := client.CoreV1().Nodes().Get(ctx, cfg.NodeName, metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			_, ok := node.Labels["node-role.kubernetes.io/control-plane"]
			return ok && len(node.Spec.Taints) == 0, fmt.Errorf("labels %v, taints %v", node.Labels, node.Spec.Taints)
		})
	})
	t.Run("logs come through the kubelet", func(t *testing.T) { testLogs(t, client) })
	t.Run("secrets are unreadable in the database", func(t *testing.T) { testSecrets(t, client, cfg) })
	t.Run("the audit log says who, and not what", func(t *testing.T) { testAudit(t, cfg) })
	t.Run("a claim gets a directory and gives it back", func(t *testing.T) { testVolume(t, client, cfg) })
	t.Run("a network policy is answered with a warning", func(t *testing.T) { testNetworkPolicy(t, server.config(t, cfg)) })
	t.Run("strangers may only ask for health", func(t *testing.T) { testAnonymous(t, cfg) })
	t.Run("renewed certificates are shown without a restart", func(t *testing.T) { testRenewal(t, cfg) })
	t.Run("add-ons are applied", func(t *testing.T) {
		got, err := client.CoreV1().ConfigMaps("addon").Get(ctx, "given", metav1.GetOptions{})
		if err != nil || got.Data["key"] != "value" {
			t.Errorf("ConfigMap addon/given = %v, %v; want key=value", got.Data, err)
		}
	})
	t.Run("a second server on the same directory is refused", func(t *testing.T) {
		out, err := command(dir).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "in use by another process") {
			t.Errorf("second server: %v, %s; want a refusal that names the directory", err, out)
		}
	})
	t.Run("a pod runs at once", func(t *testing.T) { testPodStart(t, client) })
	t.Run("kubectl top has figures", func(t *testing.T) { testMetrics(t, client) })
	t.Run("an autoscaler sees the load", func(t *testing.T) { waitDeployment(t, client, "busy", 2) })
	t.Run("it is small and quiet when idle", func(t *testing.T) { testIdle(t, server) })
	whole := t
	t.Run("kill -9 loses nothing", func(t *testing.T) {
		before := engine.starts("web")
		// Right after a write was confirmed.
		if _, err := client.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "last"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		server.kill()
		server = start(whole, dir)
		t.Logf("start after kill -9 to ready: %s", server.took)
		client = server.client(t, cfg)
		if _, err := client.CoreV1().ConfigMaps("default").Get(ctx, "last", metav1.GetOptions{}); err != nil {
			t.Errorf("what was written last: %v", err)
		}
		waitDeployment(t, client, "web", 3)
		if after := engine.starts("web"); after != before {
			t.Errorf("containers started again after the restart: %d, before %d", after, before)
		}
	})
	t.Run("it stops when told", func(t *testing.T) {
		began := time.Now()
		if err := server.stop(); err != nil {
			t.Errorf("server ended with %v", err)
		}
		t.Logf("stopped after %s", time.Since(began))
	})
}

func (f *fakeCRI) starts(prefix string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for pod, times := range f.started {
		if strings.HasPrefix(pod, prefix) {
			n += times
		}
	}
	return n
}

func deployment(name string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       podSpec(),
			},
		},
	}
}

func podSpec() corev1.PodSpec {
	return corev1.PodSpec{
		TerminationGracePeriodSeconds: ptr.To(int64(0)),
		AutomountServiceAccountToken:  ptr.To(false),
		Containers:                    []corev1.Container{{Name: "main", Image: "example.test/web:1", ImagePullPolicy: corev1.PullIfNotPresent}},
	}
}

func waitDeployment(t *testing.T, client *kubernetes.Clientset, name string, replicas int32) {
	t.Helper()
	var last *appsv1.Deployment
	eventually(t, 30*time.Second, func() (bool, error) {
		var err error
		last, err = client.AppsV1().Deployments("default").Get(t.Context(), name, metav1.GetOptions{})
		return err == nil && last.Status.ReadyReplicas == replicas, err
	})
}

func eventually(t *testing.T, limit time.Duration, ok func() (bool, error)) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, limit, true, func(context.Context) (bool, error) {
		done, err := ok()
		last = err
		return done, nil
	})
	if err != nil {
		t.Fatalf("after %s still not: last %v", limit, last)
	}
}
