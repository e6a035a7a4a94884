package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// table prints columns. Wide characters count twice, so that Chinese headings
// stand above their columns.
type table struct {
	out  io.Writer
	rows [][]string
}

func (a *app) table(headings ...string) *table {
	t := &table{out: a.Out}
	if len(headings) > 0 {
		t.row(headings...)
	}
	return t
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) flush() {
	var wide []int
	for _, r := range t.rows {
		for i, c := range r {
			if i == len(wide) {
				wide = append(wide, 0)
			}
			wide[i] = max(wide[i], width(c))
		}
	}
	for _, r := range t.rows {
		var b strings.Builder
		for i, c := range r {
			b.WriteString(c)
			if i < len(r)-1 {
				b.WriteString(strings.Repeat(" ", wide[i]-width(c)+3))
			}
		}
		fmt.Fprintln(t.out, strings.TrimRight(b.String(), " "))
	}
}

// width is how many columns of a terminal s takes.
func width(s string) int {
	n := utf8.RuneCountInString(s)
	for _, r := range s {
		if r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xffdc) {
			n++
		}
	}
	return n
}

// outputFlag adds -o to a command that prints a list.
func (a *app) outputFlag(c *cobra.Command) *cobra.Command {
	c.Flags().StringVarP(&a.output, "output", "o", "table", a.text.get("flag.output"))
	return c
}

// print writes value as -o asks, or by show for a table.
func (a *app) print(value any, show func()) error {
	switch a.output {
	case "", "table":
		show()
		return nil
	case "json":
		e := json.NewEncoder(a.Out)
		e.SetIndent("", "  ")
		return e.Encode(value)
	case "yaml":
		// By way of JSON, so that both have the same keys.
		data, err := json.Marshal(value)
		if err != nil {
			return err
		}
		var plain any
		if err := yaml.Unmarshal(data, &plain); err != nil {
			return err
		}
		e := yaml.NewEncoder(a.Out)
		e.SetIndent(2)
		return e.Encode(plain)
	}
	return fmt.Errorf("%s: %w", a.text.get("output.unknown", a.output), fault.Invalid)
}

// age is how long ago t was, in the one or two units that matter.
func age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := time.Since(t)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// size is a number of bytes as people read it.
func size(n int64) string {
	const units = "KMGT"
	f := float64(n)
	for i := -1; ; i++ {
		if f < 1000 || i == len(units)-1 {
			if i < 0 {
				return fmt.Sprintf("%d B", n)
			}
			return fmt.Sprintf("%.1f %cB", f, units[i])
		}
		f /= 1000
	}
}
