package main

import (
	"context"
	"fmt"
	"time"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/test/bench/measure"
)

const deploymentPath = "/apis/apps/v1/namespaces/default/deployments"

// deployment measures many pods at once.
func (b *bench) deployment(ctx context.Context, clusters []cluster) error {
	const replicas = 100
	f := b.figure("deployment")
	if !b.wants(f.Name) {
		return nil
	}
	b.say("%s", f.What)
	f.Rows = measure.Race(ctx, max(1, b.rounds/6), 3*time.Minute, on(clusters, func(ctx context.Context, k *client.Kube, n int) (float64, error) {
		return deploymentToReady(ctx, k, fmt.Sprintf("tiny-%d", n), replicas)
	})...)
	return b.show(f)
}

// deploymentToReady returns the seconds until all copies are Ready. All of them
// are gone when it returns.
func deploymentToReady(ctx context.Context, k *client.Kube, name string, replicas int) (float64, error) {
	labels := map[string]any{"app": name}
	spec := podSpec(false)
	began := time.Now()
	if err := k.Create(ctx, deploymentPath, map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"replicas": replicas, "selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": spec},
		},
	}, nil); err != nil {
		return 0, err
	}
	ready := 0
	err := poll(ctx, func() (bool, error) {
		var d client.Workload
		err := k.Get(ctx, deploymentPath+"/"+name, &d)
		ready = d.Status.ReadyReplicas
		return ready == replicas, err
	})
	took := time.Since(began).Seconds()
	if err != nil {
		err = fmt.Errorf("%d of %d Ready: %w", ready, replicas, err)
	}
	cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if e := k.Delete(cleaning, deploymentPath+"/"+name); err == nil {
		err = e
	}
	if e := poll(cleaning, func() (bool, error) {
		var list struct{ Items []client.Pod }
		err := k.Get(cleaning, podPath+"?labelSelector=app="+name, &list)
		return len(list.Items) == 0, err
	}); err == nil {
		err = e
	}
	return took, err
}

// poll asks every 20 ms until it is so. A watch of a deployment would tell no
// more: its status is what counts the pods.
func poll(ctx context.Context, so func() (bool, error)) error {
	for {
		if ok, err := so(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
