package cri

import (
	"context"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sampan-cloud/sampan/internal/node/engine"
)

// ListMetricDescriptors tells which metrics there are.
func (s *Server) ListMetricDescriptors(context.Context, *runtime.ListMetricDescriptorsRequest) (*runtime.ListMetricDescriptorsResponse, error) {
	resp := &runtime.ListMetricDescriptorsResponse{}
	for _, m := range containerMetrics() {
		resp.Descriptors = append(resp.Descriptors, m.descriptor())
	}
	for _, m := range networkMetrics() {
		resp.Descriptors = append(resp.Descriptors, m.descriptor())
	}
	return resp, nil
}

// ListPodSandboxMetrics measures every pod.
func (s *Server) ListPodSandboxMetrics(ctx context.Context, _ *runtime.ListPodSandboxMetricsRequest) (*runtime.ListPodSandboxMetricsResponse, error) {
	return &runtime.ListPodSandboxMetricsResponse{PodMetrics: s.measure(ctx)}, nil
}

// StreamPodSandboxMetrics is ListPodSandboxMetrics in pieces.
func (s *Server) StreamPodSandboxMetrics(_ *runtime.StreamPodSandboxMetricsRequest, out runtime.RuntimeService_StreamPodSandboxMetricsServer) error {
	return inPieces(s.measure(out.Context()), func(part []*runtime.PodSandboxMetrics) error {
		return out.Send(&runtime.StreamPodSandboxMetricsResponse{PodSandboxMetrics: part})
	})
}

// measure leaves out what ends while it looks.
func (s *Server) measure(ctx context.Context) []*runtime.PodSandboxMetrics {
	var list []*runtime.PodSandboxMetrics
	space, err := s.engine.Space()
	if err != nil {
		s.log.Warn("disk not measured", "err", err)
	}
	for _, p := range s.engine.Pods(owner) {
		now := time.Now()
		pod := &runtime.PodSandboxMetrics{PodSandboxId: p.ID}
		labels := []string{p.Config.Name, p.Config.Namespace, "", p.ID, ""}
		faces, err := s.engine.Interfaces(&p)
		if err != nil {
			s.log.Debug("no network metrics", "pod", p.ID, "err", err)
		}
		for _, m := range networkMetrics() {
			for i := range faces {
				pod.Metrics = append(pod.Metrics, m.sample(now, labels, point{[]string{faces[i].Name}, m.value(&faces[i])}))
			}
		}
		for _, c := range s.engine.ContainersOf(p.ID) {
			if c.State == engine.Running {
				pod.ContainerMetrics = append(pod.ContainerMetrics, s.measureContainer(ctx, &p, c, space))
			}
		}
		list = append(list, pod)
	}
	return list
}

func (s *Server) measureContainer(ctx context.Context, p *engine.Pod, c engine.Container, space engine.Space) *runtime.ContainerMetrics {
	out := &runtime.ContainerMetrics{ContainerId: c.ID}
	use, err := s.engine.ContainerUsage(ctx, c)
	if err != nil {
		s.log.Debug("container not measured", "container", c.ID, "err", err)
		return out
	}
	sample, err := s.engine.Gauges(&c)
	if err != nil {
		s.log.Debug("container not measured", "container", c.ID, "err", err)
		return out
	}
	now := time.Now()
	seen := &observed{now: now, use: &use, sample: &sample, space: space}
	labels := []string{p.Config.Name, p.Config.Namespace, c.Config.Name, c.ID, c.Image.Name}
	for _, m := range containerMetrics() {
		for _, v := range m.points(seen) {
			out.Metrics = append(out.Metrics, m.sample(now, labels, v))
		}
	}
	return out
}

// about is what a metric is called and means.
type about struct {
	name, help string
	kind       runtime.MetricType
	labels     []string // beside those of every metric
}

func (a *about) descriptor() *runtime.MetricDescriptor {
	keys := append([]string{"pod", "namespace", "container", "id", "image"}, a.labels...)
	return &runtime.MetricDescriptor{Name: a.name, Help: a.help, LabelKeys: keys}
}

func (a *about) sample(at time.Time, labels []string, p point) *runtime.Metric {
	return &runtime.Metric{
		Name: a.name, Timestamp: at.UnixNano(), MetricType: a.kind,
		LabelValues: append(append([]string{}, labels...), p.labels...), Value: value(p.value),
	}
}

// point is one value of a metric, with its further labels.
type point struct {
	labels []string
	value  uint64
}

// observed is what one look at a container has found.
type observed struct {
	now    time.Time
	use    *engine.Usage
	sample *engine.Gauges
	space  engine.Space
}
