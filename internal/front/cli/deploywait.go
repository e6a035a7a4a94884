package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// patience is how long an app may look broken before the wait for it ends: a
// copy that fails once and then starts is no failure.
const patience = 5 * time.Second

// awaitApps follows apps until each serves, waits for a person, or cannot go
// on. They are in the order of their dependencies, so that the first failure is
// the cause of the others. They must run with that version of their configuration;
// 0 is any. It returns those that have settled.
func (a *app) awaitApps(ctx context.Context, k *client.Kube, apps []client.App, config int64) ([]client.App, error) {
	p := a.progress()
	defer p.close()
	for _, app := range apps {
		p.step(app.Name, a.text.get("run.wait", app.Name))
	}
	var settled []client.App
	for _, app := range apps {
		began := time.Now()
		now, err := a.awaitApp(ctx, k, app, config, p)
		p.done(app.Name, time.Since(began), err)
		if err != nil {
			return settled, fmt.Errorf("%s: %w", app.Name, err)
		}
		settled = append(settled, now)
	}
	return settled, nil
}

// awaitApp follows one app.
func (a *app) awaitApp(ctx context.Context, k *client.Kube, app client.App, config int64, p *progress) (client.App, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var broken time.Time
	changes, stop := a.watchApp(ctx, k, app.Name)
	defer stop()
	now := app
	for {
		select {
		case <-ctx.Done():
			return now, context.Cause(ctx)
		case c := <-changes:
			if c.err != nil {
				return now, c.err
			}
			now = c.app
		case <-tick.C:
		}
		p.note(app.Name, a.summary(&now))
		done, why := a.settled(&now, app.Generation, config)
		switch {
		case why == nil:
			broken = time.Time{}
		case done:
			return now, why
		case broken.IsZero():
			broken = time.Now()
		case time.Since(broken) > patience:
			return now, why
		}
		if done {
			return now, nil
		}
	}
}

// settled tells whether the app has come to rest with what is asked for: a
// generation of it, and at least a version of its configuration. An error
// without rest may pass.
func (a *app) settled(app *client.App, generation, config int64) (done bool, err error) {
	s := app.Status
	if app.Deleted != nil {
		return true, a.gone()
	}
	if s.ObservedGeneration < generation || s.Config < config {
		return false, nil
	}
	if r := s.Rollout; r != nil {
		switch {
		case r.Phase == "TakenBack":
			return true, fmt.Errorf("%s: %w", a.text.get("app.takenback", r.Revision, r.Message), fault.Precondition)
		case r.Paused != "":
			return true, nil
		case r.Phase == "Starting" || r.Phase == "Watching":
			return false, degraded(app)
		}
	}
	if err := degraded(app); err != nil {
		return false, err
	}
	return app.Condition("Ready").Status == "True" && s.LiveConfig >= config, nil
}

// gone says that an app is no longer there.
func (a *app) gone() error { return fmt.Errorf("%s: %w", a.text.get("app.gone"), fault.NotFound) }

// degraded is what is wrong with the app, in the cloud's own words.
func degraded(app *client.App) error {
	c := app.Condition("Degraded")
	if c.Status != "True" || c.Reason == "MetricUnreachable" || c.Reason == "JudgeUnreachable" {
		return nil
	}
	kind := fault.Precondition
	if c.Reason == "NotEnoughResources" {
		kind = fault.Exhausted
	}
	return fmt.Errorf("%s: %s: %w", c.Reason, c.Message, kind)
}

// change is how an app has become, or why that cannot be known.
type change struct {
	app client.App
	err error
}

// watchApp sends each state of an app until stop is called. A server that
// closes the watch or goes away for a while is asked again.
func (a *app) watchApp(ctx context.Context, k *client.Kube, name string) (changes <-chan change, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan change)
	send := func(c change) bool {
		select {
		case out <- c:
			return true
		case <-ctx.Done():
			return false
		}
	}
	var watcher sync.WaitGroup
	path := client.AppPath(k.Namespace, "") + "?fieldSelector=" + url.QueryEscape("metadata.name="+name)
	watcher.Go(func() {
		for ctx.Err() == nil {
			err := k.Watch(ctx, path, func(kind string, raw json.RawMessage) bool {
				if kind == "ERROR" {
					return false // too old to go on from: begin anew
				}
				var c change
				c.err = json.Unmarshal(raw, &c.app)
				if kind == "DELETED" {
					c.err = a.gone()
				}
				return send(c)
			})
			// A cloud that starts answers with much before it answers
			// well; only that one may not ask is final.
			if k := fault.Of(err); (k == fault.Unauthorized || k == fault.Forbidden) && !send(change{err: err}) {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	return out, func() { cancel(); watcher.Wait() }
}
