package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/test/bench/measure"
	"github.com/sampan-cloud/sampan/test/bench/peer"
)

const podPath = "/api/v1/namespaces/default/pods"

// cluster is an API server with a node behind it, or why there is none.
type cluster struct {
	who, note string
	kube      *client.Kube
	absent    error
}

// pods measures pods one after the other, with and without the volume that
// holds a service account's token.
func (b *bench) pods(ctx context.Context, clusters []cluster) error {
	for _, name := range []string{"pod", "pod-token"} {
		if !b.wants(name) {
			continue
		}
		f := b.figure(name)
		b.say("%s", f.What)
		f.Rows = measure.Race(ctx, b.rounds, 30*time.Second, on(clusters, func(ctx context.Context, k *client.Kube, n int) (float64, error) {
			return podToRunning(ctx, k, fmt.Sprintf("%s-%d", name, n), name == "pod-token")
		})...)
		if err := b.show(f); err != nil {
			return err
		}
	}
	return nil
}

// on makes contestants of clusters. n counts the times that do is called.
func on(clusters []cluster, do func(ctx context.Context, k *client.Kube, n int) (float64, error)) []measure.Contestant {
	var all []measure.Contestant
	for _, c := range clusters {
		n := 0
		all = append(all, measure.Contestant{Who: c.who, Note: c.note, Once: func(ctx context.Context) (float64, error) {
			if c.absent != nil {
				return 0, c.absent
			}
			n++
			return do(ctx, c.kube, n)
		}})
	}
	return all
}

// podToRunning makes a pod and returns the milliseconds until the API says that
// it runs. The pod is gone when it returns.
func podToRunning(ctx context.Context, k *client.Kube, name string, token bool) (took float64, err error) {
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	running := make(chan error, 1)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		err := k.Watch(watch, podPath+"?fieldSelector=metadata.name="+name, func(kind string, object json.RawMessage) bool {
			var p client.Pod
			if json.Unmarshal(object, &p) == nil && p.Status.Phase == "Running" && len(running) == 0 {
				running <- nil
			}
			return kind != "DELETED"
		})
		if err != nil {
			running <- err
		}
	}()
	// The watch must stand before the pod is made, or its start would count.
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	if err := k.Create(ctx, podPath, podObject(name, token), nil); err != nil {
		return 0, err
	}
	select {
	case err = <-running:
		took = measure.Milliseconds(time.Since(began))
	case <-ctx.Done():
		err = fmt.Errorf("pod %s does not run: %w", name, ctx.Err())
	}
	if e := k.Delete(context.WithoutCancel(ctx), podPath+"/"+name); err == nil && fault.Of(e) != fault.NotFound {
		err = e
	}
	select {
	case <-gone:
	case <-ctx.Done():
	}
	return took, err
}

func podObject(name string, token bool) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name},
		"spec": podSpec(token),
	}
}

func podSpec(token bool) map[string]any {
	return map[string]any{
		"automountServiceAccountToken": token, "terminationGracePeriodSeconds": 1,
		"containers": []any{map[string]any{"name": "tiny", "image": peer.Ref, "imagePullPolicy": "Never"}},
	}
}
