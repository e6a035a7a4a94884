package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// edit is one change of an app's own configuration. It is about a variable, or
// about a file when it has a path.
type edit struct {
	name, path string
	value      []byte
	secret     bool
	remove     bool
}

// String is how a user calls what is changed.
func (e edit) String() string { return cmp.Or(e.path, e.name) }

// ownConfig is an app's own configuration as it is now.
type ownConfig struct {
	there bool
	client.Secret
	keys map[string]client.ConfigKey
}

// readOwn reads an app's own configuration.
func (a *app) readOwn(ctx context.Context, k *client.Kube, name string) (ownConfig, error) {
	c := ownConfig{keys: map[string]client.ConfigKey{}}
	err := k.Get(ctx, client.SecretPath(k.Namespace, client.ConfigName(name)), &c.Secret)
	if fault.Of(err) == fault.NotFound {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	if c.there = true; c.Labels[client.LabelConfig] != name {
		return c, fmt.Errorf("%s: %w", a.text.get("app.config.foreign", c.Name, client.LabelConfig, name), fault.Precondition)
	}
	if text := c.Annotations[client.AnnotationConfigKeys]; text != "" {
		if err := json.Unmarshal([]byte(text), &c.keys); err != nil {
			return c, fmt.Errorf("secret %s: annotation %s: %w", c.Name, client.AnnotationConfigKeys, err)
		}
	}
	return c, nil
}

// key is the key under which a variable or file is, or would be.
func (c *ownConfig) key(e edit) string {
	if e.path == "" {
		return e.name
	}
	for name, k := range c.keys {
		if k.Path == e.path {
			return name
		}
	}
	name := "file" + strings.ReplaceAll(strange.ReplaceAllString(e.path, "_"), "/", ".")
	for _, taken := c.Data[name]; taken; _, taken = c.Data[name] {
		name += "_"
	}
	return name
}

// strange is what a key of a Secret cannot have in it.
var strange = regexp.MustCompile(`[^-._/a-zA-Z0-9]`)

// largest is what a Secret may hold.
const largest = 1 << 20

// change is the patch that makes the edits, with the keys as they are after it.
func (a *app) change(c ownConfig, name string, edits []edit) (object, map[string]client.ConfigKey, error) {
	patch := object{}
	c.keys, c.Data = maps.Clone(c.keys), maps.Clone(c.Data) // as they become
	if c.Data == nil {
		c.Data = map[string][]byte{}
	}
	for _, e := range edits {
		key := c.key(e)
		old, there := c.Data[key]
		if e.path == "" && c.keys[key].Path != "" {
			return nil, nil, fmt.Errorf("%s: %w", a.text.get("app.config.isfile", key, c.keys[key].Path), fault.Invalid)
		}
		if e.remove {
			if !there {
				return nil, nil, fmt.Errorf("%s: %w", a.text.get("app.config.nokey", name, e), fault.NotFound)
			}
			patch[key] = nil
			delete(c.keys, key)
			delete(c.Data, key)
			continue
		}
		want := client.ConfigKey{Path: e.path, Plain: !e.secret}
		if !there || !bytes.Equal(old, e.value) || c.keys[key] != want {
			patch[key], c.Data[key], c.keys[key] = e.value, e.value, want
		}
	}
	total := 0
	for key, value := range c.Data {
		total += len(key) + len(value)
	}
	if total > largest {
		return nil, nil, fmt.Errorf("%s: %w", a.text.get("app.config.large", name, size(int64(total)), size(largest)), fault.Exhausted)
	}
	return patch, c.keys, nil
}

// changeOwn makes the edits in one change, or none of them. Whoever has changed
// another value meanwhile keeps his change; one who has changed the same is not
// overwritten unseen. It reports false when there is nothing to do.
func (a *app) changeOwn(ctx context.Context, k *client.Kube, app *client.App, edits []edit, cause string) (written, bool, error) {
	var first *ownConfig
	for {
		c, err := a.readOwn(ctx, k, app.Name)
		if err != nil {
			return written{}, false, err
		}
		if first == nil {
			first = &c
		}
		for _, e := range edits {
			key := first.key(e)
			if before, now := first.Data[key], c.Data[key]; !bytes.Equal(before, now) {
				return written{}, false, fmt.Errorf("%s: %w", a.text.get("app.config.conflict", e, orDash(c.Annotations[client.AnnotationChangedBy]), app.Name), fault.Precondition)
			}
		}
		data, keys, err := a.change(c, app.Name, edits)
		if err != nil || len(data) == 0 {
			return written{}, false, err
		}
		made, err := a.writeOwn(ctx, k, app, c, data, keys, cause)
		if fault.Of(err) == fault.Exists {
			continue // changed by another between our look and our word
		}
		if err != nil {
			return written{}, false, err
		}
		w, err := wrote("Secret", made)
		return w, true, err
	}
}

// writeOwn writes an app's own configuration, on condition that it still is as
// it was read.
func (a *app) writeOwn(ctx context.Context, k *client.Kube, app *client.App, c ownConfig, data object, keys map[string]client.ConfigKey, cause string) (client.Meta, error) {
	said, err := json.Marshal(keys)
	if err != nil {
		return client.Meta{}, err
	}
	meta := object{"annotations": object{client.AnnotationConfigKeys: string(said), client.AnnotationCause: marked(cause)}}
	var made client.Secret
	if c.there {
		meta["resourceVersion"] = c.ResourceVersion
		err = k.Merge(ctx, client.SecretPath(k.Namespace, c.Name), object{"metadata": meta, "data": data}, &made)
		return made.Meta, err
	}
	meta["name"], meta["labels"] = client.ConfigName(app.Name), object{client.LabelConfig: app.Name}
	// It goes with the app.
	meta["ownerReferences"] = []object{{"apiVersion": client.AppVersion, "kind": "App", "name": app.Name, "uid": app.UID}}
	maps.DeleteFunc(data, func(_ string, v any) bool { return v == nil })
	err = k.Create(ctx, client.SecretPath(k.Namespace, ""), object{
		"apiVersion": "v1", "kind": "Secret", "type": client.SecretTypeConfig, "metadata": meta, "data": data,
	}, &made)
	return made.Meta, err
}

// marked makes the same words, said again, a cause of their own. Without words
// there is no cause: an old one must not stand with a new change.
func marked(cause string) any {
	if cause = strings.TrimSpace(cause); cause == "" {
		return nil
	}
	return cause + " #" + strings.ToLower(rand.Text()[:8])
}

// sortedKeys are a map's keys in their order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
