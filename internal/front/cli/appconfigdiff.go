package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// difference is one setting that is not the same on both sides; one of them is
// nil when it is only on the other.
type difference struct {
	before, after *setting
}

// differences lists what is not the same, by name.
func differences(before, after []setting) []difference {
	byID := map[string]*difference{}
	side := func(id string) *difference {
		if byID[id] == nil {
			byID[id] = &difference{}
		}
		return byID[id]
	}
	for i := range before {
		side(before[i].id()).before = &before[i]
	}
	for i := range after {
		side(after[i].id()).after = &after[i]
	}
	var list []difference
	for _, id := range sortedKeys(byID) {
		d := byID[id]
		if d.before == nil || d.after == nil || d.before.Digest != d.after.Digest || d.before.Secret != d.after.Secret || d.before.File != d.after.File {
			list = append(list, *d)
		}
	}
	return list
}

func (d difference) mark() string {
	switch {
	case d.before == nil:
		return "+"
	case d.after == nil:
		return "-"
	}
	return "~"
}

func (d difference) one() *setting {
	if d.after != nil {
		return d.after
	}
	return d.before
}

// changes names what has changed, for a line of the history.
func changes(before, after []setting) []string {
	list := []string{}
	for _, d := range differences(before, after) {
		list = append(list, d.mark()+d.one().Key)
	}
	return list
}

func (a *app) configDiff() *cobra.Command {
	var with string
	c := a.command("diff NAME [VERSION [VERSION]]", "app.config.diff", cobra.RangeArgs(1, 3), func(ctx context.Context, args []string) error {
		k, here, err := a.openConfiguration(ctx, args[0])
		if err != nil {
			return err
		}
		if with != "" {
			if len(args) > 1 {
				return fmt.Errorf("%s: %w", a.text.get("app.config.withversion"), fault.Invalid)
			}
			other := *k
			other.Namespace = with
			there, err := a.readConfiguration(ctx, &other, args[0])
			if err != nil {
				return fmt.Errorf("%s: %w", with, err)
			}
			return a.showDifferences(ctx, k, &other, settings(here.newest()), settings(there.newest()))
		}
		before, after, err := a.sides(&here, args[1:])
		if err != nil {
			return err
		}
		return a.showDifferences(ctx, k, k, settings(before), settings(after))
	})
	c.Flags().StringVar(&with, "with", "", a.text.get("app.config.with"))
	return c
}

// sides are the versions to compare: the two named, the one named and the
// present one, or the last two.
func (a *app) sides(c *configuration, named []string) (before, after client.ConfigVersion, err error) {
	after = c.newest()
	switch {
	case len(named) == 2:
		if after, err = a.findVersion(c, named[1]); err != nil {
			return before, after, err
		}
		fallthrough
	case len(named) == 1:
		before, err = a.findVersion(c, named[0])
	case len(c.versions) > 1:
		before = c.versions[1]
	}
	return before, after, err
}

// showDifferences prints a line for each, and for text of several lines those
// lines that differ.
func (a *app) showDifferences(ctx context.Context, k, other *client.Kube, before, after []setting) error {
	list := differences(before, after)
	if len(list) == 0 {
		fmt.Fprintln(a.Out, a.text.get("app.config.equal"))
		return nil
	}
	for _, d := range list {
		s := d.one()
		name := s.Key
		if !s.own {
			name = s.Source + " " + name
		}
		if d.before != nil && d.after != nil && lined(*d.before) && lined(*d.after) {
			fmt.Fprintf(a.Out, "~ %s\n", name)
			old, err := a.whole(ctx, k, *d.before)
			if err != nil {
				return err
			}
			now, err := a.whole(ctx, other, *d.after)
			if err != nil {
				return err
			}
			for _, l := range lineDiff(strings.Split(old, "\n"), strings.Split(now, "\n")) {
				fmt.Fprintln(a.Out, "    "+l)
			}
			continue
		}
		switch d.mark() {
		case "~":
			fmt.Fprintf(a.Out, "~ %s: %s → %s\n", name, a.shown(*d.before), a.shown(*d.after))
		default:
			fmt.Fprintf(a.Out, "%s %s: %s\n", d.mark(), name, a.shown(*s))
		}
	}
	return nil
}

// lined says whether a setting is compared line by line.
func lined(s setting) bool {
	return !s.Secret && (s.File || !s.whole || strings.Contains(s.Value, "\n"))
}

// mostLines is up to how many lines are compared; beyond that, the table of
// their longest common part would be large.
const mostLines = 2000

// lineDiff is the lines of both that are not in their longest common part.
func lineDiff(before, after []string) []string {
	from := 0
	for from < len(before) && from < len(after) && before[from] == after[from] {
		from++
	}
	before, after = before[from:], after[from:]
	for len(before) > 0 && len(after) > 0 && before[len(before)-1] == after[len(after)-1] {
		before, after = before[:len(before)-1], after[:len(after)-1]
	}
	var out []string
	if len(before) > mostLines || len(after) > mostLines {
		return append(out, fmt.Sprintf("-%d +%d", len(before), len(after)))
	}
	// common[i][j] is the length of the longest common part of before[i:] and after[j:].
	common := make([][]int, len(before)+1)
	for i := range common {
		common[i] = make([]int, len(after)+1)
	}
	for i := range slices.Backward(before) {
		for j := range slices.Backward(after) {
			if before[i] == after[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(before) || j < len(after); {
		switch {
		case i < len(before) && j < len(after) && before[i] == after[j]:
			i, j = i+1, j+1
		case j == len(after) || i < len(before) && common[i+1][j] >= common[i][j+1]:
			out = append(out, "-"+before[i])
			i++
		default:
			out = append(out, "+"+after[j])
			j++
		}
	}
	return out
}
