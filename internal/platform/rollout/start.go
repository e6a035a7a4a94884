package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// needs are the apps that an app depends on or speaks to.
func needs(spec *v1alpha1.AppSpec) []string {
	out := slices.Clone(spec.DependsOn)
	for _, e := range spec.Env {
		if e.From != nil && e.From.App != nil {
			out = append(out, e.From.App.Name)
		}
	}
	return out
}

// startable says whether a new revision of the app may start. Why not is a
// problem.
func (p *pass) startable(ctx context.Context) bool {
	return p.fits(ctx) && p.dependenciesReady(ctx) && p.addressable(ctx)
}

// addressable says whether the apps are there whose addresses this one is told.
func (p *pass) addressable(ctx context.Context) bool {
	others, err := p.addresses(ctx)
	if err == nil {
		_, err = object.Pod(p.app, object.Revision{Spec: p.app.Spec, Own: p.sources.own}, others)
	}
	if err != nil {
		p.wrong(v1alpha1.ReasonDependencyMissing, err.Error())
	}
	return err == nil
}

// dependenciesReady waits for the apps that this one needs before it starts for
// the first time. Later they may come and go: a new version of one app must not
// wait for the health of another.
func (p *pass) dependenciesReady(ctx context.Context) bool {
	if len(p.app.Spec.DependsOn) == 0 {
		return true
	}
	var near v1alpha1.AppList
	if err := p.List(ctx, &near, inNamespace(p.app)); err != nil {
		p.wrong(v1alpha1.ReasonDependencyWaiting, err.Error())
		return false
	}
	apps := map[string]*v1alpha1.App{}
	for i := range near.Items {
		apps[near.Items[i].Name] = &near.Items[i]
	}
	if cycle := findCycle(p.app.Name, func(name string) []string {
		if a := apps[name]; a != nil {
			return a.Spec.DependsOn
		}
		return nil
	}); cycle != nil {
		p.wrong(v1alpha1.ReasonDependencyCycle, "these apps wait for each other: "+strings.Join(cycle, " → "))
		return false
	}
	if p.app.Status.Live != "" {
		return true
	}
	for _, name := range p.app.Spec.DependsOn {
		switch a := apps[name]; {
		case a == nil:
			p.wrong(v1alpha1.ReasonDependencyMissing, fmt.Sprintf("waits for the app %s, which does not exist", name))
			return false
		case !ready(a):
			p.wrong(v1alpha1.ReasonDependencyWaiting, fmt.Sprintf("waits for the app %s to be ready", name))
			return false
		}
	}
	return true
}

// findCycle is a way from start back to itself, and nil if there is none.
func findCycle(start string, next func(string) []string) []string {
	seen := map[string]bool{}
	var walk func(at string, way []string) []string
	walk = func(at string, way []string) []string {
		for _, n := range next(at) {
			if n == start {
				return append(way, n)
			}
			if !seen[n] {
				seen[n] = true
				if found := walk(n, append(way, n)); found != nil {
					return found
				}
			}
		}
		return nil
	}
	return walk(start, []string{start})
}

// fits says whether any node is large enough for one copy.
func (p *pass) fits(ctx context.Context) bool {
	var nodes corev1.NodeList
	if err := p.List(ctx, &nodes); err != nil || len(nodes.Items) == 0 {
		return true // the scheduler will know
	}
	res := p.app.Spec.Resources
	asks := map[corev1.ResourceName]resource.Quantity{}
	for name, q := range res.Other {
		asks[corev1.ResourceName(name)] = q
	}
	for name, q := range map[corev1.ResourceName][2]*resource.Quantity{
		corev1.ResourceCPU: {res.CPU, res.Limits.CPU}, corev1.ResourceMemory: {res.Memory, res.Limits.Memory},
	} {
		switch {
		case q[0] != nil:
			asks[name] = *q[0]
		case q[1] != nil:
			asks[name] = *q[1] // a limit alone is also what is asked for
		}
	}
	var short []string
	fitsOne := false
	for i := range nodes.Items {
		missing := lacks(asks, nodes.Items[i].Status.Allocatable)
		if len(missing) == 0 {
			fitsOne = true
			break
		}
		if short == nil || len(missing) < len(short) {
			short = missing
		}
	}
	if !fitsOne {
		p.wrong(v1alpha1.ReasonNotEnough, "no node is large enough for one copy: "+strings.Join(short, ", "))
	}
	return fitsOne
}

// lacks says what of asks a node does not have.
func lacks(asks map[corev1.ResourceName]resource.Quantity, has corev1.ResourceList) []string {
	var out []string
	for name, want := range asks {
		have := has[name]
		if want.Cmp(have) > 0 {
			out = append(out, fmt.Sprintf("it asks for %s of %s, the node has %s", want.String(), name, human(name, have)))
		}
	}
	slices.Sort(out)
	return out
}

func human(name corev1.ResourceName, q resource.Quantity) string {
	if name == corev1.ResourceMemory && q.Value() >= 1<<20 {
		return fmt.Sprintf("%dMi", q.Value()>>20)
	}
	return q.String()
}
