package kube

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// builtin is what every cluster has: roles of the components, the default
// StorageClass, runtime classes, and the word that network policies are not
// enforced.
//
//go:embed addons.yaml
var builtin []byte

// fieldManager is whose fields these are. Whoever edits another field of an
// add-on keeps it over a restart; the add-on's own come back.
const fieldManager = "sampan"

// addons applies the cluster's own objects at every start.
type addons struct {
	cfg     Config
	clients *clients
}

func (a *addons) Run(ctx context.Context, ready func()) error {
	objects, err := a.parse()
	if err != nil {
		return err
	}
	if a.cfg.AddonsAfter != nil {
		select {
		case <-a.cfg.AddonsAfter:
		case <-ctx.Done():
			return nil
		}
	}
	pending := objects
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(30 * time.Second)
	for {
		var errs error
		if pending, errs = a.apply(ctx, pending); len(pending) == 0 || ctx.Err() != nil {
			break
		}
		if time.Now().After(deadline) {
			return errs
		}
		// The namespace or the definition may be one of those still being made.
		a.clients.mapper.Reset()
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	ready()
	<-ctx.Done()
	return nil
}

func (a *addons) parse() ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for _, doc := range append([][]byte{builtin}, a.cfg.Addons...) {
		decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(doc), 4096)
		for {
			u := &unstructured.Unstructured{}
			err := decoder.Decode(&u.Object)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("add-on: %w: %w", err, fault.Invalid)
			}
			if len(u.Object) > 0 {
				out = append(out, u)
			}
		}
	}
	return out, nil
}

// atOnce is how many objects are applied at the same time: most of what one takes
// is the wait for etcd's disk.
const atOnce = 8

// apply returns what could not be applied, and why.
func (a *addons) apply(ctx context.Context, objects []*unstructured.Unstructured) (left []*unstructured.Unstructured, errs error) {
	failures := make([]error, len(objects))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, u := range objects {
		group.Go(func() error {
			failures[i] = a.applyOne(ctx, u)
			return nil
		})
	}
	group.Wait()
	for i, u := range objects {
		if err := failures[i]; err != nil {
			left = append(left, u)
			errs = errors.Join(errs, fmt.Errorf("add-on %s %s: %w", u.GetKind(), u.GetName(), err))
		}
	}
	return left, errs
}

func (a *addons) applyOne(ctx context.Context, u *unstructured.Unstructured) error {
	gvk := u.GroupVersionKind()
	mapping, err := a.clients.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return err
	}
	var api dynamic.ResourceInterface = a.clients.dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		ns := u.GetNamespace()
		if ns == "" {
			ns = metav1.NamespaceDefault
		}
		api = a.clients.dynamic.Resource(mapping.Resource).Namespace(ns)
	}
	_, err = api.Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err == nil && u.GetKind() == "CustomResourceDefinition" {
		return a.served(u)
	}
	return err
}

// served tells whether the API knows what a definition defines: a controller
// that comes after the add-ons asks for it once and fails without it.
func (a *addons) served(definition *unstructured.Unstructured) error {
	group, _, err := unstructured.NestedString(definition.Object, "spec", "group")
	if err != nil {
		return err
	}
	kind, _, err := unstructured.NestedString(definition.Object, "spec", "names", "kind")
	if err != nil {
		return err
	}
	_, err = a.clients.mapper.RESTMapping(schema.GroupKind{Group: group, Kind: kind})
	return err
}
