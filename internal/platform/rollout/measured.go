package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// measured holds what is asked for outside the gateway: processors and memory
// from metrics.k8s.io, and numbers from URLs. It asks every two seconds, beside
// the decisions, so that a slow answer delays none.
type measured struct {
	conn   *rest.Config
	client *http.Client

	mu     sync.Mutex
	wanted map[metricKey]question
	values map[metricKey]value
	api    *http.Client // to the cluster; made when first needed
}

// metricKey is an app and what is asked about it: a type of metric, or the URL
// and query of one that judges.
type metricKey struct {
	app  types.NamespacedName
	what string
}

type question struct {
	metric v1alpha1.Metric
	app    *v1alpha1.App
}

type value struct {
	v   float64
	err error
	at  time.Time
}

const (
	askEvery = 2 * time.Second
	tooOld   = 15 * time.Second // an older number is none
)

func newMeasured(conn *rest.Config, client *http.Client) *measured {
	return &measured{conn: conn, client: client, wanted: map[metricKey]question{}, values: map[metricKey]value{}}
}

// want says that an app's metrics are needed at the next refresh.
func (m *measured) want(app *v1alpha1.App) {
	for _, metric := range metrics(app) {
		switch metric.Type {
		case v1alpha1.CPU, v1alpha1.Memory, v1alpha1.External:
			m.ask(metricKey{key(app), string(metric.Type)}, question{metric, app})
		}
	}
}

// ask has a question asked at the next refresh.
func (m *measured) ask(k metricKey, q question) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wanted[k] = q
}

// get is the last value of a metric.
func (m *measured) get(app *v1alpha1.App, metric v1alpha1.Metric) (float64, error) {
	return m.last(metricKey{key(app), string(metric.Type)})
}

// errNotYet says that there has been no time for an answer: a question waits for
// the next refresh, or a pod for its first sample.
var errNotYet = fmt.Errorf("not measured yet: %w", fault.Unavailable)

// last is the last answer to a question.
func (m *measured) last(k metricKey) (float64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[k]
	switch {
	case !ok:
		return 0, errNotYet
	case v.err != nil:
		return 0, v.err
	case time.Since(v.at) > tooOld:
		return 0, fmt.Errorf("the last answer is %s old: %w", time.Since(v.at).Round(time.Second), fault.Unavailable)
	}
	return v.v, nil
}

// run asks for what is wanted until ctx ends.
func (m *measured) run(ctx context.Context) error {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.refresh(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// refresh asks for what is wanted and forgets the rest.
func (m *measured) refresh(ctx context.Context) {
	m.mu.Lock()
	wanted := m.wanted
	m.wanted = map[metricKey]question{}
	for k := range m.values {
		if _, ok := wanted[k]; !ok {
			delete(m.values, k)
		}
	}
	m.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(16)
	for k, q := range wanted {
		g.Go(func() error {
			v, err := m.answer(ctx, q)
			m.mu.Lock()
			defer m.mu.Unlock()
			m.values[k] = value{v, err, time.Now()}
			return nil
		})
	}
	_ = g.Wait() // failures are values here
}

func (m *measured) answer(ctx context.Context, q question) (float64, error) {
	if q.metric.Type == v1alpha1.External {
		return m.external(ctx, q.metric)
	}
	return m.usage(ctx, q)
}

// external asks a URL for a number.
func (m *measured) external(ctx context.Context, metric v1alpha1.Metric) (float64, error) {
	address := metric.URL
	if metric.Query != "" {
		address = strings.TrimSuffix(address, "/") + "/api/v1/query?query=" + url.QueryEscape(metric.Query)
	}
	body, err := get(ctx, m.client, address)
	if err != nil {
		return 0, err
	}
	field := metric.Field
	if metric.Query != "" && field == "" {
		field = "data.result.0.value.1"
	}
	v, err := number(body, field)
	if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
		err = fmt.Errorf("the answer is %v: %w", v, fault.NotFound)
	}
	return v, err
}

// number finds a number in an answer.
func number(body []byte, field string) (float64, error) {
	text := strings.TrimSpace(string(body))
	if field == "" {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, fmt.Errorf("answer %.40q: not a number: %w", text, fault.Invalid)
		}
		return v, nil
	}
	var at any
	if err := json.Unmarshal(body, &at); err != nil {
		return 0, fmt.Errorf("answer %.40q: %w: %w", text, err, fault.Invalid)
	}
	for part := range strings.SplitSeq(field, ".") {
		switch in := at.(type) {
		case map[string]any:
			at = in[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(in) {
				return 0, fmt.Errorf("answer has no %s: %w", field, fault.NotFound)
			}
			at = in[i]
		default:
			return 0, fmt.Errorf("answer has no %s: %w", field, fault.NotFound)
		}
	}
	switch v := at.(type) {
	case float64:
		return v, nil
	case string:
		return strconv.ParseFloat(v, 64)
	}
	return 0, fmt.Errorf("answer has no number at %s: %w", field, fault.Invalid)
}

// podMetrics is what metrics.k8s.io answers, as far as it matters.
type podMetrics struct {
	Items []struct {
		Containers []struct {
			Usage map[string]resource.Quantity `json:"usage"`
		} `json:"containers"`
	} `json:"items"`
}

// usage is what all copies of an app use together.
func (m *measured) usage(ctx context.Context, q question) (float64, error) {
	m.mu.Lock()
	if m.api == nil {
		client, err := rest.HTTPClientFor(m.conn)
		if err != nil {
			m.mu.Unlock()
			return 0, err
		}
		m.api = client
	}
	api := m.api
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	body, err := get(ctx, api, fmt.Sprintf("%s/apis/metrics.k8s.io/v1beta1/namespaces/%s/pods?labelSelector=%s",
		strings.TrimSuffix(m.conn.Host, "/"), q.app.Namespace, url.QueryEscape(v1alpha1.LabelApp+"="+q.app.Name)))
	if err != nil {
		return 0, err
	}
	var pods podMetrics
	if err := json.Unmarshal(body, &pods); err != nil {
		return 0, fmt.Errorf("pod metrics: %w", err)
	}
	if len(pods.Items) == 0 && q.app.Status.Ready > 0 {
		return 0, fmt.Errorf("none of its pods: %w", errNotYet)
	}
	var sum float64
	for _, p := range pods.Items {
		for _, c := range p.Containers {
			used := c.Usage[string(q.metric.Type)]
			sum += used.AsApproximateFloat64()
		}
	}
	return sum, nil
}

func get(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", address, res.Status)
	}
	return body, err
}

// target is how much of a metric one copy should have, in the metric's own
// unit, and whether the metric is an average over copies.
func target(m v1alpha1.Metric, spec *v1alpha1.AppSpec) (v float64, perCopy bool, err error) {
	text := m.Target.StrVal
	if m.Target.Type == intstr.Int {
		text = strconv.Itoa(m.Target.IntValue())
	}
	switch m.Type {
	case v1alpha1.Latency:
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return 0, true, notNumber(m, "a duration such as 250ms")
		}
		return d.Seconds(), true, nil
	case v1alpha1.CPU, v1alpha1.Memory:
		v, err := resourceTarget(m, text, spec)
		return v, false, err
	}
	v, err = strconv.ParseFloat(text, 64)
	if err != nil || v <= 0 {
		return 0, false, notNumber(m, "a number above 0")
	}
	return v, false, nil
}

func resourceTarget(m v1alpha1.Metric, text string, spec *v1alpha1.AppSpec) (float64, error) {
	share, percent := strings.CutSuffix(text, "%")
	if !percent {
		q, err := resource.ParseQuantity(text)
		if err != nil || q.Sign() <= 0 {
			return 0, notNumber(m, "a quantity such as 500m or 200Mi, or a share such as 70%")
		}
		return q.AsApproximateFloat64(), nil
	}
	asked := spec.Resources.CPU
	if m.Type == v1alpha1.Memory {
		asked = spec.Resources.Memory
	}
	if asked == nil {
		return 0, errors.New("a share needs spec.resources to say what a copy asks for")
	}
	p, err := strconv.ParseFloat(share, 64)
	if err != nil || p <= 0 {
		return 0, notNumber(m, "a share such as 70%")
	}
	return asked.AsApproximateFloat64() * p / 100, nil
}
