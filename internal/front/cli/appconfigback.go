package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func (a *app) configRollback() *cobra.Command {
	var cause string
	var wait waiting
	c := a.command("rollback NAME VERSION", "app.config.rollback", cobra.ExactArgs(2), func(ctx context.Context, args []string) error {
		k, c, err := a.openConfiguration(ctx, args[0])
		if err != nil {
			return err
		}
		v, err := a.findVersion(&c, args[1])
		if err != nil {
			return err
		}
		if cause == "" {
			cause = "rollback to " + versionName(v.Data.Number)
		}
		w, changed, err := a.restore(ctx, k, &c, v, cause)
		if err != nil {
			return err
		}
		if !changed {
			fmt.Fprintln(a.Out, a.text.get("app.config.same", args[0], versionName(c.newest().Data.Number)))
			return nil
		}
		return a.configured(ctx, k, args[0], w, wait)
	})
	c.Flags().StringVar(&cause, "cause", "", a.text.get("deploy.cause"))
	a.waitFlags(c, &wait)
	return c
}

// restore gives every source of a version the content that it had in it. Those
// that others named since, or that the app has lost, stay as they are.
func (a *app) restore(ctx context.Context, k *client.Kube, c *configuration, v client.ConfigVersion, cause string) (last written, changed bool, err error) {
	for _, s := range v.Data.Sources {
		if slices.ContainsFunc(c.newest().Data.Sources, func(now client.ConfigSource) bool { return sameSource(now, s) }) {
			continue
		}
		w, err := a.restoreSource(ctx, k, c, s, cause)
		if err != nil {
			return last, changed, fmt.Errorf("%s %s: %w", s.Kind, s.Name, err)
		}
		last, changed = w, true
	}
	own := func(s client.ConfigSource) bool { return s.Own }
	if i := slices.IndexFunc(c.newest().Data.Sources, own); i >= 0 && !slices.ContainsFunc(v.Data.Sources, own) {
		// There was no configuration of its own then.
		w, err := a.restoreSource(ctx, k, c, client.ConfigSource{Kind: "Secret", Name: c.newest().Data.Sources[i].Name, Own: true}, cause)
		return w, err == nil, err
	}
	return last, changed, nil
}

// restoreSource writes what a copy holds, on condition that nobody has changed
// the source since the version that the user has seen.
func (a *app) restoreSource(ctx context.Context, k *client.Kube, c *configuration, s client.ConfigSource, cause string) (written, error) {
	var data map[string][]byte
	if s.Copy != "" {
		var err error
		if data, err = copied(ctx, k, s); err != nil {
			return written{}, err
		}
	}
	if s.Own {
		own, err := a.readOwn(ctx, k, c.app.Name)
		if err != nil {
			return written{}, err
		}
		if err := a.seen(c, s, own.Meta); err != nil {
			return written{}, err
		}
		patch, keys := object{}, map[string]client.ConfigKey{}
		for key := range own.Data {
			patch[key] = nil
		}
		for _, value := range s.Values {
			patch[value.Key] = data[value.Key]
			keys[value.Key] = client.ConfigKey{Path: value.Path, Plain: !value.Secret}
		}
		made, err := a.writeOwn(ctx, k, &c.app, own, patch, keys, cause)
		if err != nil {
			return written{}, a.conflict(err, c.app.Name)
		}
		return wrote("Secret", made)
	}
	return a.restoreOther(ctx, k, c, s, data, cause)
}

// restoreOther writes a ConfigMap or Secret that the app names.
func (a *app) restoreOther(ctx context.Context, k *client.Kube, c *configuration, s client.ConfigSource, data map[string][]byte, cause string) (written, error) {
	at := client.ConfigMapPath
	if s.Kind == "Secret" {
		at = client.SecretPath
	}
	var now struct {
		client.Meta `json:"metadata"`
		Data        map[string]any
		BinaryData  map[string]any
	}
	err := k.Get(ctx, at(k.Namespace, s.Name), &now)
	there := err == nil
	if err != nil && fault.Of(err) != fault.NotFound {
		return written{}, err
	}
	if err := a.seen(c, s, now.Meta); there && err != nil {
		return written{}, err
	}
	texts, raw := object{}, object{}
	for key := range now.Data {
		texts[key] = nil
	}
	for key := range now.BinaryData {
		raw[key] = nil
	}
	for _, value := range s.Values {
		content := data[value.Key]
		switch {
		case s.Kind == "Secret":
			texts[value.Key] = content
		case utf8.Valid(content):
			texts[value.Key] = string(content)
		default:
			raw[value.Key] = content
		}
	}
	meta := object{"annotations": object{client.AnnotationCause: marked(cause)}, "labels": object{client.LabelConfig: now.Labels[client.LabelConfig]}}
	o := object{"metadata": meta, "data": texts}
	if s.Kind == "ConfigMap" {
		o["binaryData"] = raw
	}
	var made struct {
		client.Meta `json:"metadata"`
	}
	if there {
		meta["resourceVersion"] = now.ResourceVersion
		err = k.Merge(ctx, at(k.Namespace, s.Name), o, &made)
	} else {
		meta["name"], o["apiVersion"], o["kind"] = s.Name, "v1", s.Kind
		err = k.Create(ctx, at(k.Namespace, ""), o, &made)
	}
	if err != nil {
		return written{}, a.conflict(err, c.app.Name)
	}
	return wrote(s.Kind, made.Meta)
}

// seen says whether a source is as in the newest version that was read: what
// nobody has looked at must not be overwritten.
func (a *app) seen(c *configuration, s client.ConfigSource, now client.Meta) error {
	var trail struct{ Count int64 }
	if text := now.Annotations[client.AnnotationChanges]; text != "" {
		if err := json.Unmarshal([]byte(text), &trail); err != nil {
			return fmt.Errorf("%s %s: annotation %s: %w", s.Kind, s.Name, client.AnnotationChanges, err)
		}
	}
	for _, last := range c.newest().Data.Sources {
		if last.Kind == s.Kind && last.Name == s.Name && last.Changes != trail.Count {
			return fmt.Errorf("%s: %w", a.text.get("app.config.raced", c.app.Name), fault.Precondition)
		}
	}
	return nil
}

// conflict says that another was faster.
func (a *app) conflict(err error, name string) error {
	if fault.Of(err) == fault.Exists {
		return fmt.Errorf("%s: %w", a.text.get("app.config.raced", name), fault.Precondition)
	}
	return err
}

func (a *app) configCopy() *cobra.Command {
	var from, cause string
	var wait waiting
	c := a.command("copy NAME [KEY|PATH…]", "app.config.copy", cobra.MinimumNArgs(1), func(ctx context.Context, args []string) error {
		k, err := a.kubeOfEnvironment()
		if err != nil {
			return err
		}
		if from == "" || from == k.Namespace {
			return fmt.Errorf("%s: %w", a.text.get("app.config.nofrom", k.Namespace), fault.Invalid)
		}
		other := *k
		other.Namespace = from
		source, err := a.readOwn(ctx, &other, args[0])
		if err != nil {
			return err
		}
		edits, err := a.editsFrom(source, args[0], args[1:])
		if err != nil {
			return err
		}
		if cause == "" {
			cause = "copied from " + from
		}
		return a.edit(ctx, args[0], edits, cause, wait)
	})
	c.Flags().StringVar(&from, "from", "", a.text.get("app.config.from"))
	c.Flags().StringVar(&cause, "cause", "", a.text.get("deploy.cause"))
	a.waitFlags(c, &wait)
	return c
}

// editsFrom are the edits that bring the named values, or all, from elsewhere.
func (a *app) editsFrom(source ownConfig, name string, which []string) ([]edit, error) {
	var edits []edit
	found := map[string]bool{}
	for _, key := range sortedKeys(source.Data) {
		k := source.keys[key]
		e := edit{name: key, path: k.Path, value: source.Data[key], secret: !k.Plain}
		if len(which) == 0 || slices.Contains(which, e.String()) {
			edits = append(edits, e)
			found[e.String()] = true
		}
	}
	for _, w := range which {
		if !found[w] {
			return nil, fmt.Errorf("%s: %w", a.text.get("app.config.nokey", name, w), fault.NotFound)
		}
	}
	if len(edits) == 0 {
		return nil, fmt.Errorf("%s: %w", a.text.get("app.config.none", name, name), fault.NotFound)
	}
	return edits, nil
}
