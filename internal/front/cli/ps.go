package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/api/local"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// copyOf is one line of `sampan ps`: one copy of an app, or a one-off.
type copyOf struct {
	Name     string    `json:"name"`
	App      string    `json:"app,omitempty"`
	Ready    string    `json:"ready"`
	Status   string    `json:"status"`
	Restarts int       `json:"restarts"`
	IP       string    `json:"ip,omitempty"`
	Node     string    `json:"node,omitempty"`
	Runtime  string    `json:"runtime,omitempty"`
	Why      string    `json:"runtimeReason,omitempty"` // of a runtime that nobody asked for
	Image    string    `json:"image"`
	Created  time.Time `json:"created"`
}

func (a *app) ps() *cobra.Command {
	return listing(a, "ps", "ps", func(ctx context.Context, k *client.Kube) ([]copyOf, error) {
		var pods client.Items[client.Pod]
		if err := k.Get(ctx, client.PodPath(k.Namespace, ""), &pods); err != nil {
			return nil, err
		}
		all := k.Namespace == ""
		here, err := a.containers(ctx, all)
		return copies(pods.Items, here, all), err
	}, func(list []copyOf, _ bool) {
		head := func(column string) string { return a.text.get("ps.column." + column) }
		t := a.table(head("name"), head("ready"), head("status"), head("restarts"), head("age"), "IP", head("runtime"), head("image"))
		for _, c := range list {
			t.row(c.Name, c.Ready, c.Status, fmt.Sprint(c.Restarts), age(c.Created), c.IP, c.runtime(), c.Image)
		}
		t.flush()
	})
}

// containers are those of this node. A cloud whose daemon is elsewhere, or that
// only root may ask, has none to show.
func (a *app) containers(ctx context.Context, all bool) ([]local.Container, error) {
	n, err := a.node()
	if err != nil {
		return nil, err
	}
	var cs []local.Container
	err = n.Call(ctx, http.MethodGet, "/v1/containers?all="+fmt.Sprint(all), nil, &cs)
	if errors.Is(err, client.ErrNoDaemon) || fault.Of(err) == fault.Forbidden {
		return nil, nil
	}
	return cs, err
}

// copies joins what the API says of pods with what the node says of containers.
func copies(pods []client.Pod, here []local.Container, all bool) []copyOf {
	known := map[string]local.Container{}
	var list []copyOf
	for _, c := range here {
		known[c.ID] = c
		if c.OneOff {
			list = append(list, copyOf{Name: c.Name, Ready: "-", Status: oneOffStatus(c), IP: c.IP, Runtime: c.Runtime, Why: c.Why, Image: c.Image, Created: c.Created})
		}
	}
	for _, p := range pods {
		c := copyOf{Name: called(p.Meta, all), App: p.Labels[client.LabelName], Status: podStatus(p), IP: p.Status.PodIP, Node: p.Spec.NodeName, Created: p.Created}
		ready := 0
		for _, s := range p.Status.ContainerStatuses {
			if s.Ready {
				ready++
			}
			c.Restarts += s.RestartCount
			if _, id, ok := strings.Cut(s.ContainerID, "://"); ok {
				c.ranBy(known[id])
			}
		}
		c.Ready = fmt.Sprintf("%d/%d", ready, len(p.Spec.Containers))
		if len(p.Spec.Containers) > 0 {
			c.Image = p.Spec.Containers[0].Image
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b copyOf) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// ranBy adds the runtime of one of a pod's containers. Few pods have several.
func (c *copyOf) ranBy(ctr local.Container) {
	if ctr.Runtime != "" && !slices.Contains(strings.Split(c.Runtime, ","), ctr.Runtime) {
		c.Runtime = strings.TrimPrefix(c.Runtime+","+ctr.Runtime, ",")
	}
	if ctr.Why != "" {
		c.Why = ctr.Why
	}
}

// runtime is the column: "runc (hooks.createRuntime)" when nobody asked for it.
func (c *copyOf) runtime() string {
	if c.Why == "" {
		return c.Runtime
	}
	return fmt.Sprintf("%s (%s)", c.Runtime, c.Why)
}

func oneOffStatus(c local.Container) string {
	if c.State == "exited" {
		return fmt.Sprintf("exited (%d)", c.Code)
	}
	return c.State
}

// podStatus is the one word that tells most about a pod, as kubectl chooses it.
func podStatus(p client.Pod) string {
	if p.Deleted != nil {
		return "Terminating"
	}
	for i, s := range p.Status.InitContainerStatuses {
		if w := s.State.Waiting; w != nil && w.Reason != "" && w.Reason != "PodInitializing" {
			return "Init:" + w.Reason
		}
		if t := s.State.Terminated; t != nil && t.ExitCode != 0 {
			return "Init:Error"
		}
		if s.State.Waiting != nil {
			return fmt.Sprintf("Init:%d/%d", i, len(p.Status.InitContainerStatuses))
		}
	}
	for _, s := range p.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil && w.Reason != "" {
			return w.Reason
		}
		if t := s.State.Terminated; t != nil && p.Status.Phase != "Succeeded" {
			return t.Reason
		}
	}
	if p.Status.Reason != "" {
		return p.Status.Reason
	}
	return p.Status.Phase
}

// at is the path of a container on the local socket.
func at(id, verb string) string { return "/v1/containers/" + url.PathEscape(id) + verb }
