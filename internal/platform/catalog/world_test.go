package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	kubefake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttest "k8s.io/client-go/testing"

	api "github.com/sampan-cloud/sampan/api/catalog"
)

var testConfig = Config{PodCIDR: netip.MustParsePrefix("10.244.0.0/16"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16")}

// cluster is an API that counts versions, refuses stale writes, and says what
// was written.
type cluster struct {
	clienttest.ObjectTracker
	mu      sync.Mutex
	version int
	writes  []string
	down    bool
}

func (c *cluster) stamp(verb string, gvr schema.GroupVersionResource, o runtime.Object, ns string) (runtime.Object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o = o.DeepCopyObject()
	m, err := meta.Accessor(o)
	if err != nil {
		return nil, err
	}
	if c.down {
		return nil, apierrors.NewServiceUnavailable("the API is away")
	}
	if verb == "update" {
		have, err := c.ObjectTracker.Get(gvr, ns, m.GetName())
		if err != nil {
			return nil, err
		}
		if h, err := meta.Accessor(have); err != nil || h.GetResourceVersion() != m.GetResourceVersion() {
			return nil, apierrors.NewConflict(gvr.GroupResource(), m.GetName(), fmt.Errorf("it is %s", h.GetResourceVersion()))
		}
	}
	c.version++
	m.SetResourceVersion(strconv.Itoa(c.version))
	if verb == "create" {
		m.SetUID(types.UID(fmt.Sprint("uid-", c.version)))
		m.SetCreationTimestamp(metav1.Now())
		if s, ok := o.(*corev1.Service); ok && s.Spec.ClusterIP == "" {
			s.Spec.ClusterIP = "10.96.0.7"
		}
	}
	c.writes = append(c.writes, verb+" "+gvr.Resource+" "+m.GetName())
	return o, nil
}

func (c *cluster) Create(gvr schema.GroupVersionResource, o runtime.Object, ns string, opts ...metav1.CreateOptions) error {
	if m, err := meta.Accessor(o); err == nil {
		if _, err := c.ObjectTracker.Get(gvr, ns, m.GetName()); err == nil {
			return apierrors.NewAlreadyExists(gvr.GroupResource(), m.GetName())
		}
	}
	o, err := c.stamp("create", gvr, o, ns)
	if err != nil {
		return err
	}
	return c.ObjectTracker.Create(gvr, o, ns, opts...)
}

func (c *cluster) Update(gvr schema.GroupVersionResource, o runtime.Object, ns string, opts ...metav1.UpdateOptions) error {
	o, err := c.stamp("update", gvr, o, ns)
	if err != nil {
		return err
	}
	return c.ObjectTracker.Update(gvr, o, ns, opts...)
}

func (c *cluster) Delete(gvr schema.GroupVersionResource, ns, name string, opts ...metav1.DeleteOptions) error {
	c.mu.Lock()
	c.writes = append(c.writes, "delete "+gvr.Resource+" "+name)
	c.mu.Unlock()
	return c.ObjectTracker.Delete(gvr, ns, name, opts...)
}

func (c *cluster) written() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.writes...)
}

func (c *cluster) away(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// world is a cluster with a catalog, and a client of its HTTP API.
type world struct {
	t       *testing.T
	cluster *cluster
	kube    *kubefake.Clientset
	store   *Store
	url     string
	stop    func()
}

func newWorld(t *testing.T, objects ...runtime.Object) *world {
	t.Helper()
	w := &world{t: t, cluster: &cluster{ObjectTracker: clienttest.NewObjectTracker(scheme.Scheme, scheme.Codecs.UniversalDecoder())}, kube: &kubefake.Clientset{}}
	w.kube.AddReactor("*", "*", clienttest.ObjectReaction(w.cluster))
	w.kube.AddWatchReactor("*", func(a clienttest.Action) (bool, watch.Interface, error) {
		i, err := w.cluster.Watch(a.GetResource(), a.GetNamespace())
		return true, i, err
	})
	for _, o := range objects {
		m, err := meta.Accessor(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.cluster.Create(corev1.SchemeGroupVersion.WithResource("services"), o, m.GetNamespace()); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { w.stop() })
	w.start()
	return w
}

// start begins with what is in the cluster, as after a restart.
func (w *world) start() {
	w.t.Helper()
	w.store = NewStore(testConfig, w.kube, slog.New(slog.NewTextHandler(io.Discard, nil)))
	front := httptest.NewServer(NewHandler(w.store, slog.New(slog.NewTextHandler(io.Discard, nil))))
	w.url = front.URL
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- w.store.Run(ctx, func() { close(ready) }) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run = %v", err)
		}
		front.CloseClientConnections()
		front.Close()
	})
	select {
	case <-ready:
	case <-time.After(10 * time.Second):
		w.t.Fatal("not ready after 10 seconds")
	}
}

func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

// call returns the status code and the body.
func (w *world) call(method, path, body string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

// put registers an instance of shop/SERVICE.
func (w *world) put(service, id, body string) {
	w.t.Helper()
	if code, answer := w.call("PUT", api.InstancePath("shop", service, id), body); code/100 != 2 {
		w.t.Fatalf("PUT %s/%s = %d %s", service, id, code, answer)
	}
}

func (w *world) slice(name string) *discoveryv1.EndpointSlice {
	w.t.Helper()
	s, err := w.kube.DiscoveryV1().EndpointSlices("shop").Get(w.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) service(name string) *corev1.Service {
	w.t.Helper()
	s, err := w.kube.CoreV1().Services("shop").Get(w.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// ready tells whether an instance is among those that are found.
func (w *world) ready(name string) bool {
	s := w.slice(name)
	return s != nil && len(s.Endpoints) > 0 && *s.Endpoints[0].Conditions.Ready
}

// state is what the API says of an instance.
func (w *world) state(service, id string) api.State {
	w.t.Helper()
	code, body := w.call("GET", api.InstancePath("shop", service, id), "")
	if code != 200 {
		return ""
	}
	var i api.Instance
	if err := json.Unmarshal([]byte(body), &i); err != nil {
		w.t.Fatal(err)
	}
	return i.Status.State
}

// within waits for something, and returns how long it took.
func (w *world) within(limit time.Duration, what string, ok func() bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	for time.Since(began) < limit {
		if ok() {
			return time.Since(began)
		}
		time.Sleep(2 * time.Millisecond)
	}
	w.t.Fatalf("%s: not within %s; written: %v", what, limit, w.cluster.written())
	return 0
}
