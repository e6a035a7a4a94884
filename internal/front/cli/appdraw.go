package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/api/client"
)

// ink colours a piece of text by what it means. On paper it leaves it as it is.
type ink func(meaning, text string) string

func plainInk(_, text string) string { return text }

// colours are what the meanings look like on a terminal (SGR parameters).
var colours = map[string]string{"title": "1", "live": "32", "new": "33", "leaving": "2", "bad": "31", "quiet": "2"}

func colourInk(meaning, text string) string {
	if c := colours[meaning]; c != "" && text != "" {
		return "\x1b[" + c + "m" + text + "\x1b[m"
	}
	return text
}

// draw is the picture of an app: its addresses, where their requests go, and
// why. Zero columns cut nothing off.
func (a *app) draw(app *client.App, paint ink, columns int) string {
	var b strings.Builder
	line := func(s string) { b.WriteString(s + "\n") }
	line(paint("title", app.Name) + "  " + app.Namespace + "  " + paint(mood(app), a.state(app)))
	line("")
	for _, address := range addresses(app) {
		line(address)
	}
	if len(app.Status.Revisions) > 0 {
		a.drawRevisions(app, paint, line)
	}
	a.drawFacts(app, paint, columns, line)
	if columns == 0 {
		return b.String()
	}
	var cut strings.Builder
	for l := range strings.Lines(b.String()) {
		cut.WriteString(clip(strings.TrimSuffix(l, "\n"), columns) + "\n")
	}
	return cut.String()
}

// mood is the colour of an app's state.
func mood(app *client.App) string {
	switch {
	case app.Condition("Degraded").Status == "True":
		return "bad"
	case app.Condition("Ready").Status == "True":
		return "live"
	}
	return "new"
}

// addresses are where an app is reached, its own first.
func addresses(app *client.App) []string {
	var list []string
	if app.Status.URL != "" {
		list = append(list, app.Status.URL)
	}
	for _, h := range app.Status.Hosts {
		if _, own, _ := strings.Cut(app.Status.URL, "://"); h != own {
			list = append(list, h)
		}
	}
	return list
}

// drawRevisions draws a branch for each revision: its share, name and copies.
func (a *app) drawRevisions(app *client.App, paint ink, line func(string)) {
	revisions := slices.Clone(app.Status.Revisions)
	slices.SortStableFunc(revisions, func(x, y client.AppRevision) int { return order(x.Role) - order(y.Role) })
	wide := 0
	for _, r := range revisions {
		wide = max(wide, len(copiesOf(r)))
	}
	reached := len(addresses(app)) > 0
	if reached {
		line("│")
	}
	for i, r := range revisions {
		branch := "├─"
		if i == len(revisions)-1 {
			branch = "╰─"
		}
		share := fmt.Sprintf("%3d %% %s  ", r.Weight, paint(r.Role, bar(r.Weight)))
		if !reached {
			share = "" // nobody asks it for anything
		}
		role := a.text.get("app.role." + r.Role)
		line(fmt.Sprintf("%s %s%s  %s%s  %s%s  %s", branch, share, paint("title", r.Name), paint(r.Role, role),
			strings.Repeat(" ", max(0, 8-width(role))), copiesOf(r), strings.Repeat(" ", wide-len(copiesOf(r))), dots(r, paint)))
		trunk := "│ "
		if i == len(revisions)-1 {
			trunk = "  "
		}
		line(trunk + "     " + paint("quiet", brief(r.Image)))
	}
}

// brief is an image's name with as much of its digest as people compare.
func brief(image string) string {
	name, digest, ok := strings.Cut(image, "@")
	if !ok {
		return image
	}
	return name + "@" + short(digest)
}

// order puts what serves above what comes, and that above what goes.
func order(role string) int { return slices.Index([]string{"live", "new", "leaving"}, role) }

func copiesOf(r client.AppRevision) string { return fmt.Sprintf("%d/%d", r.Ready, r.Replicas) }

const barWidth = 20

// bar is a share as a length. A share that is not nothing is seen.
func bar(percent int) string {
	n := percent * barWidth / 100
	if percent > 0 {
		n = max(n, 1)
	}
	return strings.Repeat("█", n) + strings.Repeat("░", barWidth-n)
}

const mostDots = 30

// dots shows each copy: ready or not yet.
func dots(r client.AppRevision, paint ink) string {
	if r.Replicas > mostDots {
		return paint(r.Role, "●") + fmt.Sprintf(" × %d", r.Ready)
	}
	ready := min(r.Ready, r.Replicas)
	return paint(r.Role, strings.Repeat("●", ready)) + paint("quiet", strings.Repeat("○", r.Replicas-ready))
}

// drawFacts says in words what the branches cannot. Words that are too many for
// the columns go on in the next line: it is the end of an error that tells most.
func (a *app) drawFacts(app *client.App, paint ink, columns int, line func(string)) {
	line("")
	const indent = 10
	fact := func(label, meaning, value string) {
		for i, part := range wrap(value, columns-indent) {
			if i > 0 {
				label = ""
			}
			line(label + strings.Repeat(" ", max(1, indent-width(label))) + paint(meaning, part))
		}
	}
	label := func(key string) string { return a.text.get("app.fact." + key) }
	s := app.Status
	fact(label("copies"), "", strings.TrimSpace(s.Copies+"  "+s.ScaleReason))
	fact(label("schedule"), "", app.Spec.Schedule)
	if s.Config > 0 {
		config := versionName(s.Config)
		switch {
		case s.Live == "" || s.LiveConfig == s.Config:
		case s.LiveConfig == 0:
			config += "  " + a.text.get("app.config.otherless", s.Live)
		default:
			config += "  " + a.text.get("app.config.other", s.Live, versionName(s.LiveConfig))
		}
		fact(label("config"), "", config)
	}
	if r := s.Rollout; r != nil {
		fact(label("rollout"), "", a.rollout(app))
		fact("", "", unsaid(r, app.Condition("Degraded").Message))
	}
	for _, kind := range []string{"Degraded", "RouteConflict"} {
		if c := app.Condition(kind); c.Status == "True" {
			fact(label("wrong"), "bad", c.Reason+": "+c.Message)
		}
	}
	if c := app.Condition("Ready"); c.Status == "False" && app.Condition("Degraded").Status != "True" {
		fact(label("waits"), "", c.Message)
	}
}

// unsaid is what a rollout's message says beside what else is shown: that it
// waits for a person, and what is wrong.
func unsaid(r *client.AppRollout, wrong string) string {
	if r.Paused == "step" || r.Paused == "user" || strings.Contains(wrong, r.Message) {
		return ""
	}
	if wrong == "" {
		return r.Message
	}
	return strings.TrimSuffix(strings.ReplaceAll(r.Message, wrong, ""), ": ")
}

// rollout says how far the rollout is.
func (a *app) rollout(app *client.App) string {
	r := app.Status.Rollout
	from := r.From
	if from == "" {
		from = "–"
	}
	s := fmt.Sprintf("%s → %s  %s", from, r.Revision, a.text.get("app.phase."+strings.ToLower(r.Phase)))
	if r.Phase == "Watching" || r.Phase == "Starting" {
		s += fmt.Sprintf("  %d %%", r.Weight)
	}
	if !r.Since.IsZero() {
		s += "  " + a.text.get("app.since", since(r.Since))
	}
	if r.Paused != "" {
		s += "  " + a.text.get("app.paused."+r.Paused)
	}
	return s
}

// since is how long ago t was; a clock that is behind gives nothing below zero.
func since(t time.Time) string {
	if time.Since(t) < 0 {
		return "0s"
	}
	return age(t)
}
