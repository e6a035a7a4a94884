package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// applied is one object that files ask for.
type applied struct {
	object object
	at     func(field string) string
}

// deployFiles applies what the files say: apps with what they name, or compose
// files.
func (a *app) deployFiles(ctx context.Context, d deployFlags) error {
	k, err := a.kube()
	if err != nil {
		return err
	}
	all, err := a.readObjects(ctx, d)
	if err != nil {
		return err
	}
	if all, err = inOrder(all, a.text); err != nil {
		return err
	}
	if d.dryRun {
		var objects []object
		for _, o := range all {
			objects = append(objects, o.object)
		}
		return a.printObjects(objects)
	}
	var apps []client.App
	for _, o := range all {
		made, err := a.applyObject(ctx, k, o)
		if err != nil {
			return err
		}
		if o.object["kind"] == "App" {
			apps = append(apps, made)
		}
	}
	return a.deployed(ctx, k, apps, d)
}

// readObjects reads all files before anything is changed: a mistake in the last
// one leaves everything as it was.
func (a *app) readObjects(ctx context.Context, d deployFlags) ([]applied, error) {
	var all []applied
	var composed []string
	for _, path := range d.files {
		files, err := filesAt(path, a.text)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			docs, err := a.readFile(file)
			if err != nil {
				return nil, err
			}
			if isCompose(docs) {
				composed = append(composed, file)
				continue
			}
			for _, doc := range docs {
				all = append(all, applied{doc.object, doc.at})
			}
		}
	}
	if len(composed) > 0 {
		more, err := a.compose(ctx, composed, d.profiles)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

func (a *app) readFile(file string) ([]document, error) {
	var data []byte
	var err error
	if file == "-" {
		data, err = io.ReadAll(a.In)
		a.In = bytes.NewReader(data) // for who reads it again as a compose file
	} else {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, err
	}
	return parseDocuments(file, bytes.NewReader(data), a.text)
}

// isCompose tells a compose file from objects, which say what they are.
func isCompose(docs []document) bool {
	return len(docs) == 1 && docs[0].object["apiVersion"] == nil && (docs[0].object["services"] != nil || docs[0].object["include"] != nil)
}

// kinds are what may be deployed, and where the API has them. Apps come last:
// what they name is there before them.
var kinds = []struct {
	version, kind string
	path          func(ns, name string) string
}{
	{"v1", "ConfigMap", client.ConfigMapPath},
	{"v1", "Secret", client.SecretPath},
	{"v1", "PersistentVolumeClaim", client.ClaimPath},
	{client.AppVersion, "App", client.AppPath},
}

func rank(o object) int {
	for i, k := range kinds {
		if o["apiVersion"] == k.version && o["kind"] == k.kind {
			return i
		}
	}
	return -1
}

// inOrder sorts objects so that each comes after those that it needs.
func inOrder(all []applied, t text) ([]applied, error) {
	for _, o := range all {
		if rank(o.object) < 0 {
			return nil, fmt.Errorf("%s: %s: %w", o.at("kind"),
				t.get("deploy.badkind", fmt.Sprint(o.object["apiVersion"]), fmt.Sprint(o.object["kind"])), fault.Invalid)
		}
		if nameOf(o.object) == "" {
			return nil, fmt.Errorf("%s: %s: %w", o.at("metadata"), t.get("deploy.noname"), fault.Invalid)
		}
	}
	slices.SortStableFunc(all, func(x, y applied) int { return rank(x.object) - rank(y.object) })
	byName := map[string]applied{}
	for _, o := range all {
		if o.object["kind"] == "App" {
			byName[nameOf(o.object)] = o
		}
	}
	var sorted []applied
	state := map[string]int{} // 1: on the way, 2: sorted
	var visit func(o applied) error
	visit = func(o applied) error {
		name := nameOf(o.object)
		switch state[name] {
		case 1:
			return fmt.Errorf("%s: %s: %w", o.at("spec.dependsOn"), t.get("deploy.cycle", name), fault.Invalid)
		case 2:
			return nil
		}
		state[name] = 1
		spec, _ := o.object["spec"].(object)
		needs, _ := spec["dependsOn"].([]any)
		for _, n := range needs {
			if other, ok := byName[fmt.Sprint(n)]; ok {
				if err := visit(other); err != nil {
					return err
				}
			}
		}
		state[name] = 2
		sorted = append(sorted, o)
		return nil
	}
	for _, o := range all {
		if o.object["kind"] != "App" {
			sorted = append(sorted, o)
		} else if err := visit(o); err != nil {
			return nil, err
		}
	}
	return sorted, nil
}

func nameOf(o object) string {
	meta, _ := o["metadata"].(object)
	name, _ := meta["name"].(string)
	return name
}

// applyObject makes one object as it is asked for.
func (a *app) applyObject(ctx context.Context, k *client.Kube, o applied) (client.App, error) {
	var made client.App
	ns := k.Namespace
	if meta := o.object["metadata"].(object); meta["namespace"] != nil && a.namespace == "" {
		ns = fmt.Sprint(meta["namespace"])
	} else {
		meta["namespace"] = ns
	}
	path := kinds[rank(o.object)].path(ns, nameOf(o.object))
	if err := k.Apply(ctx, path, o.object, &made); err != nil {
		return made, a.deployError(err, o.at)
	}
	return made, nil
}

// printObjects writes objects as a YAML stream that can be applied.
func (a *app) printObjects(objects []object) error {
	var errs []error
	for _, o := range objects {
		data, err := json.Marshal(o)
		if err != nil {
			return err
		}
		var plain any
		if err := yaml.Unmarshal(data, &plain); err != nil {
			return err
		}
		fmt.Fprintln(a.Out, "---")
		e := yaml.NewEncoder(a.Out)
		e.SetIndent(2)
		errs = append(errs, e.Encode(plain), e.Close())
	}
	return errors.Join(errs...)
}
