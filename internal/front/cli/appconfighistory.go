package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
)

// configLine is one line of `sampan app config history`.
type configLine struct {
	Version   string   `json:"version"`
	Live      bool     `json:"live"`
	Created   string   `json:"created"`
	By        string   `json:"by,omitempty"`
	Changes   []string `json:"changes"`
	Revisions []string `json:"revisions"`
	Cause     string   `json:"cause,omitempty"`
	age       string
}

func (a *app) configHistory() *cobra.Command {
	return a.outputFlag(a.command("history NAME", "app.config.history", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		_, c, err := a.openConfiguration(ctx, args[0])
		if err != nil {
			return err
		}
		lines := []configLine{}
		for i, v := range c.versions {
			l := configLine{
				Version: versionName(v.Data.Number), Created: v.Created.Format("2006-01-02T15:04:05Z07:00"),
				By: v.Data.By, Cause: v.Data.Cause, Changes: []string{}, age: age(v.Created),
				Revisions: c.used(v), Live: v.Data.Number == c.app.Status.LiveConfig,
			}
			switch {
			case i+1 < len(c.versions):
				l.Changes = changes(settings(c.versions[i+1]), settings(v))
			case v.Data.Number == 1:
				l.Changes = changes(nil, settings(v))
			}
			lines = append(lines, l)
		}
		return a.print(lines, func() { a.showHistory(lines) })
	}))
}

func (a *app) showHistory(lines []configLine) {
	head := func(column string) string { return a.text.get("app.column." + column) }
	t := a.table(head("version"), head("live"), head("age"), head("by"), head("changes"), head("revision"), head("cause"))
	for _, l := range lines {
		mark := ""
		if l.Live {
			mark = "●"
		}
		t.row(l.Version, mark, l.age, orDash(l.By), strings.Join(l.Changes, " "), strings.Join(l.Revisions, " "), l.Cause)
	}
	t.flush()
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
