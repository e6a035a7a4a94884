package measure

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// Report is one run's result.
type Report struct {
	Machine Machine  `json:"machine"`
	Command string   `json:"command"`
	Figures []Figure `json:"figures"`
}

// Text writes a figure as a table: what each showed, and how many times ours
// each took.
func (f Figure) Text(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "\n%s (%s)%s\n", f.What, f.Unit, f.Goal.text()); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  \tmedian\tp99\truns\tratio\t")
	for i, r := range f.Rows {
		ratio := ""
		if i > 0 && len(r.Values) > 0 && len(f.Rows[0].Values) > 0 {
			ratio = number(f.times(r)) + " ×"
		}
		remark := r.Note
		if r.Err != "" {
			remark = strings.TrimPrefix(remark+"; failed: "+firstLine(r.Err), "; ")
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%d\t%s\t%s\n", r.Who, number(r.Median()), number(r.P99()), len(r.Values), ratio, remark)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, m := range f.Missed() {
		if _, err := fmt.Fprintf(w, "  missed: %s\n", m); err != nil {
			return err
		}
	}
	return nil
}

func (g Goal) text() string {
	var parts []string
	if g.Median > 0 {
		parts = append(parts, "median ≤ "+number(g.Median))
	}
	if g.Least > 0 {
		parts = append(parts, "median ≥ "+number(g.Least))
	}
	if g.P99 > 0 {
		parts = append(parts, "p99 ≤ "+number(g.P99))
	}
	for _, who := range slices.Sorted(maps.Keys(g.Times)) {
		parts = append(parts, fmt.Sprintf("≥ %s × %s", number(g.Times[who]), who))
	}
	if len(parts) == 0 {
		return ""
	}
	return ": goal " + strings.Join(parts, ", ")
}

// number prints three digits that count.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "-"
	case v >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// Write keeps the whole result, every value, as JSON.
func (r Report) Write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
