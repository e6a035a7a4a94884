package rollout

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/counter"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// clock reads the counters several times a second and has a look taken at every
// app for which something is to be done. An app for which nothing is costs a
// look into memory.
type clock struct {
	r      *reconciler
	ticks  chan<- event.TypedGenericEvent[*v1alpha1.App]
	source counter.Source
}

// How long the clock rests between two looks: half of it is how late a step in
// the load is seen. A look at thousands of apps takes so many milliseconds that
// it is taken once a second.
const (
	restFew  = 250 * time.Millisecond
	restMany = time.Second
	few      = 500 // apps
)

func (c *clock) run(ctx context.Context) error {
	rest := time.NewTimer(0)
	defer rest.Stop()
	said := false
	for {
		select {
		case <-rest.C:
		case <-ctx.Done():
			return nil
		}
		snap, err := c.source.Read(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !said {
			c.r.log.Warn("the gateway's counters cannot be read: nothing is scaled down or shipped on", "err", err)
		} else if err == nil && said {
			c.r.log.Info("the gateway's counters are back")
		}
		said = err != nil
		c.r.history.Add(snap, err)
		if c.visit(ctx) <= few {
			rest.Reset(restFew)
		} else {
			rest.Reset(restMany)
		}
	}
}

// visit sends the apps that need a look to the controller, and says how many
// apps there are.
func (c *clock) visit(ctx context.Context) int {
	var apps v1alpha1.AppList
	// Thousands of apps are looked at each second, and none is changed here.
	if err := c.r.List(ctx, &apps, client.UnsafeDisableDeepCopy); err != nil {
		return 0 // the cache is stopping, or starting
	}
	for i := range apps.Items {
		app := &apps.Items[i]
		if !object.Serves(&app.Spec) || app.Status.Live == "" {
			continue
		}
		c.r.measured.want(app)
		if !underWay(app) && (app.Spec.PerNode || c.r.scaled(app)) {
			continue
		}
		select {
		case c.ticks <- event.TypedGenericEvent[*v1alpha1.App]{Object: app}:
		case <-ctx.Done():
			return 0
		}
	}
	return len(apps.Items)
}

// underWay says whether the app changes by the passing of time.
func underWay(app *v1alpha1.App) bool {
	if ro := app.Status.Rollout; ro != nil && (ro.Phase == v1alpha1.PhaseStarting || ro.Phase == v1alpha1.PhaseWatching) {
		return true
	}
	for _, r := range app.Status.Revisions {
		if r.Role == roleLeaving {
			return true
		}
	}
	return false
}
