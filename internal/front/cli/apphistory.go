package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
)

// kept is one line of an app's history.
type kept struct {
	Revision string `json:"revision"`
	Live     bool   `json:"live"`
	Image    string `json:"image"`
	Config   string `json:"config,omitempty"`
	By       string `json:"by,omitempty"`
	Cause    string `json:"cause,omitempty"`
	Created  string `json:"created"`
	Age      string `json:"-"`
}

func (a *app) appHistory() *cobra.Command {
	return a.outputFlag(a.command("history NAME", "app.history", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		k, err := a.kube()
		if err != nil {
			return err
		}
		var now client.App
		if err := k.Get(ctx, client.AppPath(k.Namespace, args[0]), &now); err != nil {
			return a.appError(err, args[0])
		}
		var list client.Items[client.KeptRevision]
		if err := k.Get(ctx, client.Selecting(client.RevisionPath(k.Namespace, ""), client.LabelApp, args[0]), &list); err != nil {
			return err
		}
		lines := history(list.Items, now.Status.Live)
		return a.print(lines, func() {
			head := func(column string) string { return a.text.get("app.column." + column) }
			t := a.table(head("revision"), head("live"), head("age"), head("by"), head("config"), head("image"), head("cause"))
			for _, l := range lines {
				mark := ""
				if l.Live {
					mark = "●"
				}
				t.row(l.Revision, mark, l.Age, orDash(l.By), orDash(l.Config), l.Image, l.Cause)
			}
			t.flush()
		})
	}))
}

// history lists revisions, the newest first.
func history(revisions []client.KeptRevision, live string) []kept {
	slices.SortFunc(revisions, func(x, y client.KeptRevision) int { return int(y.Revision - x.Revision) })
	list := []kept{}
	for _, r := range revisions {
		if r.Labels[client.LabelConfigVersion] != "" {
			continue // a version of the configuration
		}
		if r.Data.Name == "" {
			continue // a StatefulSet's own, or a DaemonSet's: their pods have the app's label too
		}
		config := ""
		if r.Data.Version > 0 {
			config = versionName(r.Data.Version)
		}
		list = append(list, kept{
			By: r.Annotations[client.AnnotationChangedBy], Config: config, Revision: r.Data.Name, Live: r.Data.Name == live, Image: r.Image(),
			Cause:   strings.TrimSpace(r.Annotations["kubernetes.io/change-cause"]),
			Created: r.Created.Format("2006-01-02T15:04:05Z07:00"), Age: age(r.Created),
		})
	}
	return list
}
