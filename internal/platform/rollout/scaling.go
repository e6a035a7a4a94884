package rollout

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/robfig/cron/v3"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/counter"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/scale"
)

// For unset fields of a v1alpha1.Scale.
const (
	defaultMax           = 10
	defaultInFlight      = 20
	defaultIdle          = 5 * time.Minute
	defaultStabilisation = 30 * time.Second
)

// scalers are the memories of the autoscaler, one for each app.
type scalers struct {
	mu  sync.Mutex
	all map[types.NamespacedName]*scaler
}

type scaler struct {
	scale.Scaler
	last    scale.Answer
	decided bool
}

func newScalers() *scalers { return &scalers{all: map[types.NamespacedName]*scaler{}} }

func (s *scalers) forget(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, key)
}

// decide asks an app's scaler. wanted is how many copies its workloads ask
// for, which counts only until there has been a decision.
func (s *scalers) decide(key types.NamespacedName, set scale.Settings, load scale.Load, wanted, ready int32, now time.Time) scale.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[key]
	if one == nil {
		one = &scaler{}
		s.all[key] = one
	}
	if one.decided {
		wanted = one.last.Copies
	}
	one.last, one.decided = one.Decide(set, load, wanted, ready, now), true
	return one.last
}

// copies says how many copies an app needs now.
func (r *reconciler) copies(app *v1alpha1.App, wanted, ready int32) scale.Answer {
	if fixed(app) {
		r.scalers.forget(key(app))
		return scale.Answer{Copies: *app.Spec.Scale.Replicas, Reason: "spec.scale.replicas"}
	}
	now := r.now()
	return r.scalers.decide(key(app), r.settings(app, now), r.load(app, ready), wanted, ready, now)
}

// fixed says whether the number of copies is given and nothing decides it.
func fixed(app *v1alpha1.App) bool { return app.Spec.Scale != nil && app.Spec.Scale.Replicas != nil }

// scaled says whether the app has the copies that it needs.
func (r *reconciler) scaled(app *v1alpha1.App) bool {
	var wanted int32
	for _, rev := range app.Status.Revisions {
		wanted += rev.Replicas
	}
	a := r.copies(app, wanted, app.Status.Ready)
	return a.Copies == wanted && (len(a.Errs) == 0) == !is(app, v1alpha1.ConditionDegraded, v1alpha1.ReasonMetricUnreachable)
}

// settings are the limits that hold for an app at a time.
func (r *reconciler) settings(app *v1alpha1.App, now time.Time) scale.Settings {
	set := scale.Settings{Min: 1, Max: defaultMax, Idle: defaultIdle, Stabilisation: defaultStabilisation, Held: shipping(app) || !app.Status.Proven}
	sc := app.Spec.Scale
	if sc == nil {
		sc = &v1alpha1.Scale{}
	}
	switch {
	case sc.Min != nil:
		set.Min = *sc.Min
	case object.WebPort(&app.Spec) != nil && !object.InPlace(&app.Spec) && !r.needed(app):
		set.Min = 0
	}
	if sc.Max != nil {
		set.Max = *sc.Max
	}
	if sc.Idle != nil {
		set.Idle = sc.Idle.Duration
	}
	if sc.Stabilisation != nil {
		set.Stabilisation = sc.Stabilisation.Duration
	}
	for _, w := range sc.Schedule {
		if open, err := within(w, now); err != nil || !open {
			continue // an invalid one is told by the app's condition
		}
		if w.Min != nil {
			set.Min = *w.Min
		}
		if w.Max != nil {
			set.Max = *w.Max
		}
	}
	set.Max = max(set.Max, set.Min)
	return set
}

// needed says whether other apps of the namespace speak to this one. They do so
// past the gateway, so that nothing would wake it.
func (r *reconciler) needed(app *v1alpha1.App) bool {
	var near v1alpha1.AppList
	err := r.List(context.Background(), &near, inNamespace(app), client.MatchingFields{indexNeeds: app.Name}, client.UnsafeDisableDeepCopy)
	return err != nil || len(near.Items) > 0 // better awake than unreachable
}

// within says whether a window is open.
func within(w v1alpha1.Window, now time.Time) (bool, error) {
	zone := time.UTC
	if w.TimeZone != "" {
		z, err := time.LoadLocation(w.TimeZone)
		if err != nil {
			return false, err
		}
		zone = z
	}
	s, err := cron.ParseStandard(w.Start)
	if err != nil {
		return false, err
	}
	now = now.In(zone)
	return !s.Next(now.Add(-w.Duration.Duration)).After(now), nil
}

// load is what is measured of an app.
func (r *reconciler) load(app *v1alpha1.App, ready int32) scale.Load {
	l := scale.Load{Known: true}
	if t, err := time.Parse(time.RFC3339Nano, app.Annotations[v1alpha1.AnnotationWake]); err == nil {
		l.Woken = t
	}
	var edge counter.Span
	if object.WebPort(&app.Spec) != nil {
		l.Known = r.history.Known()
		edge = r.traffic(app)
		l.Active = edge.Requests > 0 || edge.InFlight > 0 || edge.Held > 0
	}
	for _, m := range metrics(app) {
		n := scale.Need{Name: string(m.Type)}
		n.Target, n.PerCopy, n.Err = target(m, &app.Spec)
		if n.Err == nil {
			switch m.Type {
			case v1alpha1.InFlight:
				n.Value = float64(edge.InFlight + edge.Held)
			case v1alpha1.RPS:
				n.Value = edge.PerSecond()
			case v1alpha1.Latency:
				n.Value = edge.Latency.Quantile(0.9, edge.Requests).Seconds()
			default:
				n.Value, n.Err = r.measured.get(app, m)
				l.Active = l.Active || n.Err == nil && m.Type == v1alpha1.External && n.Value > 0
			}
		}
		l.Needs = append(l.Needs, n)
	}
	return l
}

// traffic is what all revisions of an app did in the last second.
func (r *reconciler) traffic(app *v1alpha1.App) counter.Span {
	return r.history.Sum(backends(app)...)
}

// backends are the gateway's names for an app: its own, and those of all its
// revisions.
func backends(app *v1alpha1.App) []string {
	names := []string{app.Namespace + "/" + app.Name}
	for _, rev := range app.Status.Revisions {
		names = append(names, backend(app, rev.Name))
	}
	return names
}

// backend is the gateway's name for a revision.
func backend(app *v1alpha1.App, revision string) string {
	return app.Namespace + "/" + object.Name(app, revision)
}

// metrics are what the number of copies follows.
func metrics(app *v1alpha1.App) []v1alpha1.Metric {
	if app.Spec.Scale != nil && len(app.Spec.Scale.Metrics) > 0 {
		return app.Spec.Scale.Metrics
	}
	if object.WebPort(&app.Spec) == nil {
		return nil
	}
	return []v1alpha1.Metric{{Type: v1alpha1.InFlight, Target: intstr.FromInt32(defaultInFlight)}}
}

// notNumber says what a target should have been.
func notNumber(m v1alpha1.Metric, should string) error {
	return fmt.Errorf("target %q: not %s", m.Target.String(), should)
}
