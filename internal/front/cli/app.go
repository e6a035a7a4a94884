package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// appCommand is the command under which everything about apps is, but their
// making.
func (a *app) appCommand() *cobra.Command {
	c := &cobra.Command{Use: "app", Aliases: []string{"apps"}, Short: a.text.get("app.short")}
	c.AddCommand(a.appList(), a.appShow(), a.appLogs(), a.appScale(), a.appHistory(), a.appRollback(),
		a.appPause(), a.appResume(), a.appPromote(), a.appAbort(), a.appConfig(), a.appDelete())
	return c
}

// listedApp is an app as it is, for -o, and what is shown of it.
type listedApp struct {
	client.App
	raw json.RawMessage
}

// MarshalJSON gives the whole object.
func (l listedApp) MarshalJSON() ([]byte, error) { return l.raw, nil }

// UnmarshalJSON keeps it.
func (l *listedApp) UnmarshalJSON(data []byte) error {
	l.raw = bytes.Clone(data)
	return json.Unmarshal(data, &l.App)
}

func (a *app) appList() *cobra.Command {
	c := listing(a, "list", "app.list", func(ctx context.Context, k *client.Kube) ([]listedApp, error) {
		var apps client.Items[listedApp]
		err := k.Get(ctx, client.AppPath(k.Namespace, ""), &apps)
		return apps.Items, a.appError(err, "")
	}, a.showApps)
	c.Aliases = []string{"ls"}
	return c
}

func (a *app) showApps(apps []listedApp, all bool) {
	head := func(column string) string { return a.text.get("app.column." + column) }
	t := a.table(head("name"), head("kind"), head("state"), head("copies"), head("live"), head("rollout"), head("age"), head("url"))
	slices.SortFunc(apps, func(x, y listedApp) int { return strings.Compare(called(x.Meta, true), called(y.Meta, true)) })
	for _, l := range apps {
		app := &l.App
		t.row(called(app.Meta, all), app.Spec.Kind, a.state(app), app.Status.Copies, app.Status.Live, a.shipping(app), age(app.Created), app.Status.URL)
	}
	t.flush()
}

// state is the one word that tells most about an app.
func (a *app) state(app *client.App) string {
	reason := app.Condition("Ready").Reason
	if c := app.Condition("Degraded"); c.Status == "True" {
		reason = c.Reason
	}
	switch {
	case app.Deleted != nil:
		reason = "Deleting"
	case reason == "":
		reason = "Pending"
	}
	if s := a.text.get("app.state." + strings.ToLower(reason)); !strings.HasPrefix(s, "app.state.") {
		return s
	}
	return reason // a newer cloud's
}

// shipping is how far an app's rollout is, in a word or two.
func (a *app) shipping(app *client.App) string {
	r := app.Status.Rollout
	switch {
	case r == nil:
		return ""
	case r.Phase != "Starting" && r.Phase != "Watching":
		return a.text.get("app.phase." + strings.ToLower(r.Phase))
	case r.Paused != "":
		return fmt.Sprintf("%s %d %% %s", r.Revision, r.Weight, a.text.get("app.paused.short"))
	}
	return fmt.Sprintf("%s %d %%", r.Revision, r.Weight)
}

// summary is an app's state in a few words, for a line that changes.
func (a *app) summary(app *client.App) string {
	s := a.state(app) + " " + app.Status.Copies
	if r := app.Status.Rollout; r != nil && (r.Phase == "Starting" || r.Phase == "Watching") {
		s += fmt.Sprintf("  %s %d %%", r.Revision, r.Weight)
		if r.Message != "" {
			s += "  " + r.Message
		}
	}
	return strings.TrimSpace(s)
}

// appError says that an app, or all apps, are not there.
func (a *app) appError(err error, name string) error {
	switch {
	case noSuchKind(err):
		return fmt.Errorf("%s: %w", a.text.get("deploy.noapps"), fault.Unsupported)
	case name != "" && fault.Of(err) == fault.NotFound:
		return fmt.Errorf("%s: %w", a.text.get("app.none", name), fault.NotFound)
	}
	return err
}

func (a *app) appDelete() *cobra.Command {
	c := a.command("delete NAME…", "app.delete", cobra.MinimumNArgs(1), func(ctx context.Context, names []string) error {
		k, err := a.kube()
		if err != nil {
			return err
		}
		var errs []error
		for _, name := range names {
			if err := k.Delete(ctx, client.AppPath(k.Namespace, name)); err != nil {
				errs = append(errs, a.appError(err, name))
				continue
			}
			fmt.Fprintln(a.Out, name)
		}
		return errors.Join(errs...)
	})
	c.Aliases = []string{"rm"}
	return c
}
