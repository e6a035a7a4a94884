package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/api/local"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// target is what a name on the command line means.
type target struct {
	name     string
	kind     string            // of what the API has by that name; empty for a one-off, and for mere pods
	object   client.Workload   // that
	live     string            // an app's revision that serves
	selector string            // of its pods
	pods     []client.Pod      // those that serve first
	here     []local.Container // those of its containers that are on this node
	oneOff   *local.Container  // a container on this node that is no pod's
}

// nameable are what a name may mean to the API, the first before the others: an
// App owns what has its name.
var nameable = [...]string{"App", "Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "Pod"}

// find looks a name up, with its pods: one-offs by name or ID first, then what
// the API has by that name, then pods that carry it as a label.
func (a *app) find(ctx context.Context, k *client.Kube, name string) (target, error) {
	here, err := a.containers(ctx, true)
	if err != nil {
		return target{}, err
	}
	for _, c := range here {
		if c.OneOff && (c.Name == name || len(name) >= 6 && strings.HasPrefix(c.ID, name)) {
			return target{name: name, oneOff: &c}, nil
		}
	}
	t, err := a.lookUp(ctx, k, name)
	if fault.Of(err) == fault.NotFound {
		t = target{name: name, selector: client.LabelName + "=" + name}
	} else if err != nil {
		return t, err
	}
	if err := a.findPods(ctx, k, &t); err != nil {
		return t, err
	}
	if t.kind == "" && len(t.pods) == 0 {
		return t, fmt.Errorf("%s: %w", a.text.get("find.none", name, k.Namespace), fault.NotFound)
	}
	for _, p := range t.pods {
		for _, c := range here {
			if p.Name == c.Pod && p.Namespace == c.Namespace {
				t.here = append(t.here, c)
			}
		}
	}
	return t, nil
}

// lookUp asks the API what it has by a name. All nameable are asked for at once: a
// user waits.
func (a *app) lookUp(ctx context.Context, k *client.Kube, name string) (target, error) {
	var found [len(nameable)]struct {
		client.Workload
		Status struct{ Live string }
	}
	var errs [len(nameable)]error
	var asked sync.WaitGroup
	for i, kind := range nameable {
		asked.Go(func() { errs[i] = k.Get(ctx, client.WorkloadPath(kind, k.Namespace, name), &found[i]) })
	}
	asked.Wait()
	var refused error
	for i, kind := range nameable {
		switch fault.Of(errs[i]) {
		case "":
			t := target{name: name, kind: kind, object: found[i].Workload, live: found[i].Status.Live}
			t.selector = labels(t)
			return t, nil
		case fault.NotFound:
		default:
			refused = errs[i]
		}
	}
	return target{}, cmp.Or(refused, fmt.Errorf("%s: %w", a.text.get("find.none", name, k.Namespace), fault.NotFound))
}

// labels select the pods of what was found; empty where labels do not tell.
func labels(t target) string {
	if t.kind == "App" {
		return client.LabelApp + "=" + t.name
	}
	var terms []string
	match := t.object.Spec.Selector.MatchLabels
	for _, key := range slices.Sorted(maps.Keys(match)) {
		terms = append(terms, key+"="+match[key])
	}
	return strings.Join(terms, ",")
}

// findPods reads the pods of what was found. Those that serve come first, and
// of these the youngest.
func (a *app) findPods(ctx context.Context, k *client.Kube, t *target) (err error) {
	selector := t.selector
	switch {
	case t.kind == "Pod":
		var p client.Pod
		t.pods = []client.Pod{p}
		return k.Get(ctx, client.PodPath(k.Namespace, t.name), &t.pods[0])
	case t.kind == "CronJob":
		var jobs client.Items[client.Workload]
		if err := k.Get(ctx, client.WorkloadPath("Job", k.Namespace, ""), &jobs); err != nil {
			return err
		}
		var names []string
		for _, j := range jobs.Items {
			if o := controller(j.Meta); o.Kind == t.kind && o.Name == t.name {
				names = append(names, j.Name)
			}
		}
		selector = "batch.kubernetes.io/job-name in (" + strings.Join(names, ",") + ")"
		if names == nil {
			return nil
		}
	case selector == "":
		return nil
	}
	if t.pods, err = podsOf(ctx, k, selector); err != nil {
		return err
	}
	serves := func(p client.Pod) int {
		switch {
		case p.Deleted != nil:
			return 2
		case t.live != "" && p.Labels[client.LabelRevision] != t.live:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(t.pods, func(x, y client.Pod) int {
		return cmp.Or(cmp.Compare(serves(x), serves(y)), y.Created.Compare(x.Created))
	})
	return nil
}

// running is the ID of a container of this node in which a command can be run.
func (t *target) running() string {
	for _, c := range t.here {
		if c.State == "running" {
			return c.ID
		}
	}
	return ""
}

// noCopies says that there is nothing to read or to run in.
func (a *app) noCopies(t target) error {
	return fmt.Errorf("%s: %w", a.text.get("target.nocopies", t.kind, t.name), fault.Precondition)
}

// controller is who looks after an object.
func controller(m client.Meta) client.Owner {
	for _, o := range m.Owners {
		if o.Controller {
			return o
		}
	}
	return client.Owner{}
}

// owned says that a target belongs to something that would undo a change, and
// what that is.
func (a *app) owned(ctx context.Context, k *client.Kube, t target, verb string) error {
	top := controller(t.object.Meta)
	if top.Kind == "" {
		return nil
	}
	for {
		path := client.WorkloadPath(top.Kind, k.Namespace, top.Name)
		var w client.Workload
		if path == "" {
			return fmt.Errorf("%s: %w", a.text.get("target.others", t.name, top.Kind, top.Name), fault.Precondition)
		}
		if err := k.Get(ctx, path, &w); err != nil && fault.Of(err) != fault.NotFound {
			return err
		}
		next := controller(w.Meta)
		if next.Kind == "" {
			return fmt.Errorf("%s: %w", a.text.get("target.owned", t.name, top.Kind, top.Name, verb, top.Name), fault.Precondition)
		}
		top = next
	}
}
