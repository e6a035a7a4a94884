package route

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// PathKind says how a path is compared.
type PathKind int

// A prefix is compared by whole segments: /a is one of /a and /a/b, not of /ab.
const (
	Prefix PathKind = iota
	Exact
	Regex
)

// A Path is what a request's path must be.
type Path struct {
	Kind  PathKind
	Value string
	re    *regexp.Regexp
}

// A Value is what a header or a query parameter must be.
type Value struct {
	Name  string // of a header: in its canonical form
	Value string
	re    *regexp.Regexp
}

// A Match is what a request must be for a rule. Everything in it must hold. The
// zero Match is every request.
type Match struct {
	Path    Path
	Method  string // empty is any
	Headers []Value
	Query   []Value
}

// NewPath returns the comparison of a path. Expressions match the whole path.
func NewPath(kind PathKind, value string) (Path, error) {
	p := Path{Kind: kind, Value: value}
	switch kind {
	case Prefix:
		p.Value = strings.TrimRight(value, "/")
	case Regex:
		re, err := whole(value)
		if err != nil {
			return p, fmt.Errorf("path: %w", err)
		}
		p.re = re
	}
	return p, nil
}

// NewValue returns the comparison of a header or query parameter.
func NewValue(name, value string, isRegex bool) (Value, error) {
	v := Value{Name: name, Value: value}
	if isRegex {
		re, err := whole(value)
		if err != nil {
			return v, fmt.Errorf("%s: %w", name, err)
		}
		v.re = re
	}
	return v, nil
}

func whole(expr string) (*regexp.Regexp, error) {
	return regexp.Compile("^(?:" + expr + ")$")
}

func (v Value) holds(got string, present bool) bool {
	if !present {
		return false
	}
	if v.re != nil {
		return v.re.MatchString(got)
	}
	return got == v.Value
}

// holds tells whether all but the path is as the match says.
func (m *Match) holds(q *query) bool {
	if m.Method != "" && m.Method != q.Method {
		return false
	}
	for _, h := range m.Headers {
		if got, ok := q.Header(h.Name); !h.holds(got, ok) {
			return false
		}
	}
	for _, p := range m.Query {
		if got, ok := q.param(p.Name); !p.holds(got, ok) {
			return false
		}
	}
	return true
}

// String is the match in one line; two that say the same are equal.
func (m *Match) String() string {
	var b strings.Builder
	switch m.Path.Kind {
	case Prefix:
		b.WriteString(m.Path.Value + "/*")
	case Exact:
		b.WriteString(m.Path.Value)
	case Regex:
		b.WriteString("~" + m.Path.Value)
	}
	if m.Method != "" {
		b.WriteString(" method " + m.Method)
	}
	writeValues(&b, " header ", m.Headers)
	writeValues(&b, " query ", m.Query)
	return b.String()
}

func writeValues(b *strings.Builder, what string, values []Value) {
	if len(values) == 0 {
		return
	}
	var words []string
	for _, v := range values {
		op := "="
		if v.re != nil {
			op = "~"
		}
		words = append(words, v.Name+op+v.Value)
	}
	slices.Sort(words)
	b.WriteString(what + strings.Join(words, ","))
}
