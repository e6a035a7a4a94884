package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/test/bench/measure"
	"github.com/sampan-cloud/sampan/test/bench/peer"
)

// object is any Kubernetes object, as JSON.
type object = map[string]any

// appCloud measures apps in a whole cloud.
func (b *bench) appCloud(ctx context.Context) (err error) {
	if !b.wants("app-wake", "app-step", "app-rollouts", "app-rollouts-p99") {
		return nil
	}
	b.say("sampan up")
	c, err := peer.NewAppCloud(ctx, b.source, b.dir, 31)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for _, measured := range []func(context.Context, *peer.AppCloud) error{b.wake, b.step, b.rollouts} {
		if err := measured(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// createApp makes an app that answers on a port, with what more says.
func createApp(ctx context.Context, c *peer.AppCloud, name string, args []string, more object) error {
	spec := object{"image": peer.AppRef, "args": append([]string{"backend", "-listen", ":8080"}, args...), "ports": []object{{"port": 8080}}}
	for k, v := range more {
		spec[k] = v
	}
	return c.API.Create(ctx, client.AppPath("default", ""), object{
		"apiVersion": client.AppVersion, "kind": "App", "metadata": object{"name": name}, "spec": spec,
	}, nil)
}

// awaitApp waits until an app is as so says.
func awaitApp(ctx context.Context, c *peer.AppCloud, name string, so func(*client.App) bool) error {
	var last client.App
	err := poll(ctx, func() (bool, error) {
		last = client.App{}
		err := c.API.Get(ctx, client.AppPath("default", name), &last)
		return so(&last), err
	})
	if err != nil {
		err = fmt.Errorf("app %s is %s, %s: %w", name, last.Condition("Ready").Reason, last.Status.Copies, err)
	}
	return err
}

// awaitCopies waits until an app has so many pods, those that end included.
func awaitCopies(ctx context.Context, c *peer.AppCloud, name string, n int) error {
	return poll(ctx, func() (bool, error) {
		var list struct{ Items []client.Pod }
		err := c.API.Get(ctx, podPath+"?labelSelector="+client.LabelApp+"="+name, &list)
		return len(list.Items) == n, err
	})
}

// pause is a while in which nothing happens.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// wake measures the first request to an app that sleeps. A dozen apps take turns,
// so that each has the time to fall asleep again.
func (b *bench) wake(ctx context.Context, c *peer.AppCloud) error {
	const apps = 12
	f := b.figure("app-wake")
	if !b.wants(f.Name) {
		return nil
	}
	b.say("%s", f.What)
	name := func(i int) string { return fmt.Sprintf("wake-%d", i%apps) }
	for i := range apps {
		if err := createApp(ctx, c, name(i), nil, object{"scale": object{"min": 0, "idle": "1s", "stabilisation": "1s"}}); err != nil {
			return err
		}
	}
	n := 0
	f.Rows = measure.Race(ctx, 5*b.rounds, time.Minute, measure.Contestant{Who: "sampan", Once: func(ctx context.Context) (float64, error) {
		n++
		asleep := func(a *client.App) bool { return a.Status.Copies == "0/0" && a.Status.Proven }
		if err := errors.Join(awaitApp(ctx, c, name(n), asleep), awaitCopies(ctx, c, name(n), 0)); err != nil {
			return 0, err
		}
		began := time.Now()
		err := c.Ask(ctx, name(n))
		return measure.Milliseconds(time.Since(began)), err
	}})
	return errors.Join(b.show(f), deleteApps(ctx, c, apps, name))
}

func deleteApps(ctx context.Context, c *peer.AppCloud, n int, name func(int) string) error {
	for i := range n {
		if err := c.API.Delete(ctx, client.AppPath("default", name(i))); err != nil {
			return err
		}
	}
	for i := range n {
		if err := awaitCopies(ctx, c, name(i), 0); err != nil {
			return err
		}
	}
	return nil
}

// step puts load for fifty copies on one: more than a thousand requests at a
// time, with a target of twenty for each copy. An answer takes half a second, so
// that it is not the clients that take the processors.
func (b *bench) step(ctx context.Context, c *peer.AppCloud) error {
	const copies, connections = 50, 1100
	f := b.figure("app-step")
	if !b.wants(f.Name) {
		return nil
	}
	b.say("%s", f.What)
	name := func(int) string { return "step" }
	if err := createApp(ctx, c, name(0), []string{"-delay", "500ms"}, object{"scale": object{
		"min": 1, "max": copies, "stabilisation": "1s", "metrics": []object{{"type": "inFlight", "target": 20}},
	}}); err != nil {
		return err
	}
	f.Rows = measure.Race(ctx, max(3, b.rounds/2), 2*time.Minute, measure.Contestant{Who: "sampan", Once: func(ctx context.Context) (float64, error) {
		one := func(a *client.App) bool { return a.Status.Copies == "1/1" }
		if err := errors.Join(awaitApp(ctx, c, name(0), one), awaitCopies(ctx, c, name(0), 1), pause(ctx, 3*time.Second)); err != nil {
			return 0, err
		}
		took, err := c.Step(ctx, name(0), connections, copies)
		if err != nil {
			return 0, err
		}
		return took[len(took)-1], nil
	}})
	return errors.Join(b.show(f), deleteApps(ctx, c, 1, name))
}
