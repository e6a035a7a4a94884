package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// appConfig is the command under which an app's configuration is.
func (a *app) appConfig() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: a.text.get("app.config.short")}
	c.AddCommand(a.configSet(), a.configUnset(), a.configShow(), a.configHistory(), a.configDiff(), a.configRollback(), a.configCopy())
	c.PersistentFlags().StringVar(&a.environment, "env", "", a.text.get("app.config.env"))
	return c
}

// kubeOfEnvironment opens the cloud's API in the environment that --env names.
// An environment is a namespace: docs/decisions/0006.
func (a *app) kubeOfEnvironment() (*client.Kube, error) {
	if a.environment != "" && a.namespace != "" && a.environment != a.namespace {
		return nil, fmt.Errorf("%s: %w", a.text.get("app.config.bothenv", a.environment, a.namespace), fault.Invalid)
	}
	k, err := a.kube()
	if err == nil && a.environment != "" {
		k.Namespace = a.environment
	}
	return k, err
}

// readApp reads an app. That it is not there is said of the environment.
func (a *app) readApp(ctx context.Context, k *client.Kube, name string, app *client.App) error {
	err := k.Get(ctx, client.AppPath(k.Namespace, name), app)
	if err = a.appError(err, name); err != nil && a.environment != "" {
		return fmt.Errorf("%s: %w", k.Namespace, err)
	}
	return err
}

// configuration is what the cloud remembers of an app's configuration.
type configuration struct {
	app       client.App
	versions  []client.ConfigVersion // the newest first
	revisions []client.KeptRevision  // the newest first
}

// openConfiguration reads an app's configuration in the environment that --env
// names, and returns the API there.
func (a *app) openConfiguration(ctx context.Context, name string) (*client.Kube, configuration, error) {
	k, err := a.kubeOfEnvironment()
	if err != nil {
		return nil, configuration{}, err
	}
	c, err := a.readConfiguration(ctx, k, name)
	return k, c, err
}

// readConfiguration reads an app, its versions and its revisions.
func (a *app) readConfiguration(ctx context.Context, k *client.Kube, name string) (configuration, error) {
	var c configuration
	if err := a.readApp(ctx, k, name, &c.app); err != nil {
		return c, err
	}
	var list client.Items[json.RawMessage]
	if err := k.Get(ctx, client.Selecting(client.RevisionPath(k.Namespace, ""), client.LabelApp, name), &list); err != nil {
		return c, err
	}
	for _, raw := range list.Items {
		var m struct {
			client.Meta `json:"metadata"`
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			return c, err
		}
		if m.Labels[client.LabelConfigVersion] == "" {
			var r client.KeptRevision
			if err := json.Unmarshal(raw, &r); err != nil {
				return c, fmt.Errorf("%s: %w", m.Name, err)
			}
			c.revisions = append(c.revisions, r)
			continue
		}
		var v client.ConfigVersion
		if err := json.Unmarshal(raw, &v); err != nil {
			return c, fmt.Errorf("%s: %w", m.Name, err)
		}
		c.versions = append(c.versions, v)
	}
	slices.SortFunc(c.versions, func(x, y client.ConfigVersion) int { return cmp.Compare(y.Data.Number, x.Data.Number) })
	slices.SortFunc(c.revisions, func(x, y client.KeptRevision) int { return cmp.Compare(y.Revision, x.Revision) })
	return c, nil
}

// newest is the version in which the configuration is now; an empty one where
// there has never been any.
func (c *configuration) newest() client.ConfigVersion {
	if len(c.versions) == 0 {
		return client.ConfigVersion{}
	}
	return c.versions[0]
}

// findVersion finds one by what a user calls it: v3 or 3.
func (a *app) findVersion(c *configuration, text string) (client.ConfigVersion, error) {
	n, err := strconv.ParseInt(strings.TrimPrefix(text, "v"), 10, 64)
	i := slices.IndexFunc(c.versions, func(v client.ConfigVersion) bool { return v.Data.Number == n })
	switch {
	case err == nil && i >= 0:
		return c.versions[i], nil
	case len(c.versions) == 0:
		return client.ConfigVersion{}, fmt.Errorf("%s: %w", a.text.get("app.config.noversions", c.app.Name), fault.NotFound)
	}
	var there []string
	for _, v := range slices.Backward(c.versions) {
		there = append(there, versionName(v.Data.Number))
	}
	return client.ConfigVersion{}, fmt.Errorf("%s: %w", a.text.get("app.config.noversion", text, c.app.Name, strings.Join(there, " ")), fault.NotFound)
}

func versionName(n int64) string { return "v" + strconv.FormatInt(n, 10) }

// used are the revisions that were made with a version, or with an older one
// that says the same.
func (c *configuration) used(v client.ConfigVersion) []string {
	names := []string{}
	for _, r := range slices.Backward(c.revisions) {
		i := slices.IndexFunc(c.versions, func(o client.ConfigVersion) bool { return o.Data.Number == r.Data.Version })
		if i >= 0 && slices.EqualFunc(c.versions[i].Data.Sources, v.Data.Sources, sameSource) {
			names = append(names, r.Data.Name)
		}
	}
	return names
}

func sameSource(x, y client.ConfigSource) bool {
	return x.Kind == y.Kind && x.Name == y.Name && x.Digest == y.Digest
}

// versionLimit is how long the cloud may take to notice a change.
const versionLimit = 15 * time.Second

// awaitVersion waits for the version in which an object has been noticed as it
// was written.
func (a *app) awaitVersion(ctx context.Context, k *client.Kube, name string, written written) (client.ConfigVersion, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, versionLimit,
		fmt.Errorf("%s: %w", a.text.get("app.config.unseen", versionLimit, name), fault.Timeout))
	defer cancel()
	var found client.ConfigVersion
	path := client.RevisionPath(k.Namespace, "") + "?labelSelector=" + url.QueryEscape(client.LabelApp+"="+name+","+client.LabelConfigVersion)
	for ctx.Err() == nil {
		err := k.Watch(ctx, path, func(kind string, raw json.RawMessage) bool {
			var v client.ConfigVersion
			if kind == "DELETED" || json.Unmarshal(raw, &v) != nil || !written.in(v) {
				return true
			}
			found = v
			return false
		})
		switch {
		case found.Data.Number > 0:
			return found, nil
		case err != nil && ctx.Err() == nil:
			return found, err
		}
		select { // the server has closed the watch
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return found, context.Cause(ctx)
}

// written is an object that was changed, and the version that the API gave it.
type written struct {
	kind, name string
	at         uint64
}

func wrote(kind string, m client.Meta) (written, error) {
	at, err := strconv.ParseUint(m.ResourceVersion, 10, 64)
	if err != nil {
		return written{}, fmt.Errorf("%s %s: resource version: %w", kind, m.Name, err)
	}
	return written{kind, m.Name, at}, nil
}

// in says whether v was made after the object was written.
func (w written) in(v client.ConfigVersion) bool {
	for _, s := range v.Data.Sources {
		at, err := strconv.ParseUint(s.ResourceVersion, 10, 64)
		if s.Kind == w.kind && s.Name == w.name && err == nil && at >= w.at {
			return true
		}
	}
	return false
}

// configured says which version there now is and, if asked to, waits until the
// app runs with it.
func (a *app) configured(ctx context.Context, k *client.Kube, name string, w written, wait waiting) error {
	v, err := a.awaitVersion(ctx, k, name, w)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Out, "%s: %s\n", name, versionName(v.Data.Number))
	if !wait.on {
		return nil
	}
	var now client.App
	if err := k.Get(ctx, client.AppPath(k.Namespace, name), &now); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wait.timeout,
		fmt.Errorf("%s: %w", a.text.get("deploy.slow", wait.timeout), fault.Timeout))
	defer cancel()
	rested, err := a.awaitApps(ctx, k, []client.App{now}, v.Data.Number)
	for _, s := range rested {
		if r := s.Status.Rollout; r != nil && r.Paused != "" {
			fmt.Fprintln(a.Out, a.text.get("deploy.paused", s.Name, r.Revision, r.Weight, s.Name, s.Name))
		}
	}
	if err != nil && !errors.Is(err, fault.Timeout) {
		return fmt.Errorf("%w (%s)", err, a.text.get("app.config.stays", name))
	}
	return err
}

// waiting says whether a command waits until the app runs as asked for.
type waiting struct {
	on      bool
	timeout time.Duration
}

func (a *app) waitFlags(c *cobra.Command, w *waiting) {
	c.Flags().BoolVar(&w.on, "wait", true, a.text.get("app.config.wait"))
	c.Flags().DurationVar(&w.timeout, "timeout", 10*time.Minute, a.text.get("deploy.timeout"))
}
