package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
)

func (a *app) appLogs() *cobra.Command {
	var follow bool
	tail := -1
	c := a.command("logs NAME", "app.logs", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		k, err := a.kube()
		if err != nil {
			return err
		}
		if err := k.Get(ctx, client.AppPath(k.Namespace, args[0]), nil); err != nil {
			return a.appError(err, args[0])
		}
		q := url.Values{}
		if tail >= 0 {
			q.Set("tailLines", fmt.Sprint(tail))
		}
		path := client.Selecting(client.PodPath(k.Namespace, ""), client.LabelApp, args[0])
		if follow {
			return a.followLogs(ctx, k, path, q)
		}
		var pods client.Items[client.Pod]
		if err := k.Get(ctx, path, &pods); err != nil {
			return err
		}
		return a.podLogs(ctx, k, pods.Items, q)
	})
	c.Flags().BoolVarP(&follow, "follow", "f", false, a.text.get("logs.follow"))
	c.Flags().IntVar(&tail, "tail", -1, a.text.get("logs.tail"))
	return c
}

// followLogs prints what all copies write, those that come later too: copies of
// an app come and go with its traffic. It ends when the user ends it.
func (a *app) followLogs(ctx context.Context, k *client.Kube, path string, q url.Values) error {
	q.Set("follow", "true")
	var mu sync.Mutex
	var readers sync.WaitGroup
	defer readers.Wait()
	seen := map[string]bool{}
	for ctx.Err() == nil {
		err := k.Watch(ctx, path, func(kind string, raw json.RawMessage) bool {
			var p client.Pod
			if kind == "ERROR" || kind == "DELETED" || json.Unmarshal(raw, &p) != nil {
				return kind != "ERROR"
			}
			for _, s := range p.Status.ContainerStatuses {
				// A restarted container is another one, with a log of its own.
				if s.ContainerID == "" || seen[s.ContainerID] {
					continue
				}
				seen[s.ContainerID] = true
				readers.Go(func() { a.followContainer(ctx, k, p, s.Name, &mu, q) })
			}
			return true
		})
		var api *client.APIError
		if errors.As(err, &api) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}

// followContainer prints one container's log until it ends. A copy that is gone
// before it is asked has nothing more to say.
func (a *app) followContainer(ctx context.Context, k *client.Kube, p client.Pod, container string, mu *sync.Mutex, q url.Values) {
	own := url.Values{"container": {container}}
	for key, v := range q {
		own[key] = v
	}
	l := &lines{to: a.Out, mu: mu, label: p.Name + " "}
	r, err := k.Stream(ctx, client.PodPath(p.Namespace, p.Name)+"/log?"+own.Encode())
	if err == nil {
		err = copyAndClose(l, r)
	}
	if err != nil && ctx.Err() == nil {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(a.Err, "%s: %s\n", p.Name, err)
	}
}
