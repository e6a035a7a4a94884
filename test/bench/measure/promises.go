package measure

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

// row is a line of a table of promises: what, goal, measured, held by. The last
// cell names the make target and the figure.
var row = regexp.MustCompile("^\\|([^|]*)\\|([^|]*)\\|[^|]*\\| `make ([a-z-]+)`: `([a-z0-9-]+)` \\|$")

// lastRun is the line that tells where a target's figures come from.
var lastRun = regexp.MustCompile("^Last run of `make ([a-z-]+)`:.*$")

// Update writes what a run of the make target has measured into the table of
// promises at path, so that nobody types figures. Rows of figures that were not
// measured stay as they are, each with its own date.
func (r Report) Update(path, target string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("promises: %w", err)
	}
	figures := map[string]Figure{}
	for _, f := range r.Figures {
		figures[f.Name] = f
	}
	lines := strings.Split(string(data), "\n")
	for i, line := range lines {
		if m := lastRun.FindStringSubmatch(line); m != nil && m[1] == target {
			lines[i] = fmt.Sprintf("Last run of `make %s`: %s.", target, r.Machine)
		}
		m := row.FindStringSubmatch(line)
		if m == nil || m[3] != target {
			continue
		}
		if f, ok := figures[m[4]]; ok && len(f.Rows) > 0 && len(f.Rows[0].Values) > 0 {
			lines[i] = fmt.Sprintf("|%s|%s| %s | `make %s`: `%s` |", m[1], m[2], f.cell(r.Machine.Date), target, f.Name)
		}
	}
	return os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644)
}

// cell is a figure in one line: ours, the peers', and whether the goal is met.
func (f Figure) cell(date time.Time) string {
	ours := f.Rows[0]
	text := fmt.Sprintf("%s %s", number(ours.Median()), f.Unit)
	if len(ours.Values) > 1 {
		text += ", p99 " + number(ours.P99())
	}
	var others []string
	for _, r := range f.Rows[1:] {
		if len(r.Values) > 0 {
			others = append(others, fmt.Sprintf("%s %s", r.Who, number(r.Median())))
		}
	}
	if len(others) > 0 {
		text += " (" + strings.Join(others, "; ") + ")"
	}
	if missed := f.Missed(); len(missed) > 0 {
		text += "; **missed**: " + strings.Join(missed, ", ")
	}
	return text + "; " + date.Format(time.DateOnly)
}
