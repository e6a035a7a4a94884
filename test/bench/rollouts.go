package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/test/bench/measure"
	"github.com/sampan-cloud/sampan/test/bench/peer"
)

// strategies take turns.
var strategies = []object{
	{"strategy": "rolling", "keep": "1s", "steps": nil},
	{"strategy": "blueGreen", "keep": "1s", "steps": nil},
	{"strategy": "canary", "keep": "1s", "steps": []object{{"weight": 25, "pause": "1s"}, {"weight": 50, "pause": "1s"}}},
}

// rollouts ships an app again and again while it is asked.
func (b *bench) rollouts(ctx context.Context, c *peer.AppCloud) (err error) {
	const rate, connections, copies = 2000, 64, 4
	failed, slow := b.figure("app-rollouts"), b.figure("app-rollouts-p99")
	if !b.wants(failed.Name, slow.Name) {
		return nil
	}
	b.say("%s", failed.What)
	name := func(int) string { return "ship" }
	if err := createApp(ctx, c, name(0), nil, object{"scale": object{"replicas": copies}, "rollout": strategies[0]}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, deleteApps(ctx, c, 1, name)) }()
	all := fmt.Sprintf("%d/%d", copies, copies)
	if err := awaitApp(ctx, c, name(0), func(a *client.App) bool { return a.Status.Copies == all }); err != nil {
		return err
	}
	load, err := c.Press(name(0), rate, connections)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, load.Close()) }()
	rest := measure.Row{Who: "at rest"}
	for range 5 {
		_, before := load.Take()
		waited := pause(ctx, 2*time.Second)
		took, err := load.Take()
		if err := errors.Join(before, waited, err); err != nil {
			return err
		}
		rest.Values = append(rest.Values, took.P99)
	}
	var said []string
	requests, lost := 0, 0
	slow.Rows = []measure.Row{{Who: "sampan"}, rest}
	failed.Rows = measure.Race(ctx, max(3, 5*b.rounds/2), 2*time.Minute, measure.Contestant{Who: "sampan", Once: func(ctx context.Context) (float64, error) {
		n := len(slow.Rows[0].Values)
		if _, err := load.Take(); err != nil {
			return 0, err
		}
		if err := ship(ctx, c, name(0), n, copies); err != nil {
			return 0, err
		}
		took, err := load.Take()
		if err != nil {
			return 0, err
		}
		requests, lost, said = requests+took.Requests, lost+took.Failed, append(said, took.Errors...)
		slow.Rows[0].Values = append(slow.Rows[0].Values, took.P99)
		return float64(took.Failed), nil
	}})
	failed.Rows[0].Note = fmt.Sprintf("%d requests", requests)
	if lost > 0 {
		failed.Rows[0].Err = fmt.Sprintf("%d of %d requests failed: %s", lost, requests, strings.Join(said, "; "))
	}
	return errors.Join(b.show(failed), b.show(slow))
}

// ship ships the n-th version of an app, by one strategy after the other, and
// returns when the copies of the one before are gone.
func ship(ctx context.Context, c *peer.AppCloud, name string, n, copies int) error {
	path := client.AppPath("default", name)
	var before client.App
	if err := c.API.Get(ctx, path, &before); err != nil {
		return err
	}
	if err := c.API.Merge(ctx, path, object{"spec": object{
		"env": []object{{"name": "VERSION", "value": fmt.Sprint(n)}}, "rollout": strategies[n%len(strategies)],
	}}, nil); err != nil {
		return err
	}
	if err := awaitApp(ctx, c, name, func(a *client.App) bool {
		r := a.Status.Rollout
		return a.Status.Live != before.Status.Live && r != nil && r.Phase == "Done" && len(a.Status.Revisions) == 1
	}); err != nil {
		return err
	}
	return awaitCopies(ctx, c, name, copies)
}
