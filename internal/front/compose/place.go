package compose

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// places knows where the fields of the files stand.
type places struct {
	files []file
}

type file struct {
	source
	root *yaml.Node
}

func readPlaces(sources []source) (places, error) {
	var p places
	for _, s := range sources {
		if len(bytes.TrimSpace(s.data)) == 0 {
			return p, fmt.Errorf("%s: empty: %w", s.name, fault.Invalid)
		}
		var n yaml.Node
		if err := yaml.Unmarshal(s.data, &n); err != nil {
			var at *yaml.LoadError
			if errors.As(err, &at) && at.Mark.Line > 0 {
				return p, fmt.Errorf("%s:%d:%d: %s: %w", s.name, at.Mark.Line, at.Mark.Column, at.Message, fault.Invalid)
			}
			return p, fmt.Errorf("%s: %w: %w", s.name, err, fault.Invalid)
		}
		p.files = append(p.files, file{s, n.Content[0]})
	}
	return p, nil
}

// at is where the field at p stands, or the innermost thing around it. The last
// file that has it counts, as it overrides the others.
func (p places) at(to path) string {
	best, depth := "", -1
	for _, f := range slices.Backward(p.files) {
		if n, d := follow(f.root, to); d > depth {
			best, depth = fmt.Sprintf("%s:%d:%d", f.name, n.Line, n.Column), d
		}
	}
	return best
}

// follow goes down from n as far as the path leads, and says how far that was.
func follow(n *yaml.Node, to path) (*yaml.Node, int) {
	at := n
	for depth, part := range to {
		for n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		next := (*yaml.Node)(nil)
		if i, err := strconv.Atoi(part); err == nil && n.Kind == yaml.SequenceNode && i < len(n.Content) {
			at, next = n.Content[i], n.Content[i]
		}
		if n.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == part {
					at, next = n.Content[i], n.Content[i+1]
				}
			}
		}
		if next == nil {
			return at, depth
		}
		n = next
	}
	return at, len(to)
}

var (
	prefix  = regexp.MustCompile(`^(validating|failed to parse) [^:]+: |^decoding failed due to the following error\(s\):\s+`)
	dotted  = regexp.MustCompile(`\b(services|volumes|networks|secrets|configs)(\.[\w.-]+)?`)
	indexed = regexp.MustCompile(`'(\w+)\[([^\]]+)\]\.([\w.]+)' `)
	cycle   = regexp.MustCompile(`^dependency cycle detected: ([^ ]+) `)
	quoted  = regexp.MustCompile(`service "([^"]+)"`)
	bare    = regexp.MustCompile(`^[a-z_]+(\.[a-z_]+)+`)
	unknown = regexp.MustCompile(`additional properties '([^']+)'`)
)

// locate puts a place in front of compose-go's words, which name the field, in
// one of several ways, but not where it is.
func (p places) locate(err error) error {
	words := strings.TrimSuffix(prefix.ReplaceAllString(err.Error(), ""), ": invalid compose project")
	words = indexed.ReplaceAllString(words, "$1.$2.$3: ")
	at := p.files[0].name + ":1:1"
	if m := cycle.FindStringSubmatch(words); m != nil {
		at = p.at(path{"services", m[1], "depends_on"})
	} else if m := quoted.FindStringSubmatch(words); m != nil {
		at = p.at(p.mentioned(path{"services", m[1]}, words))
	} else if m := dotted.FindString(words); m != "" {
		to := path(strings.Split(strings.TrimRight(m, "."), "."))
		if m := unknown.FindStringSubmatch(words); m != nil {
			to = to.to(m[1])
		}
		at = p.at(to)
	} else if to := p.only(bare.FindString(words)); to != nil {
		at = p.at(to)
	}
	return fmt.Errorf("%s: %s: %w", at, words, fault.Invalid)
}

// only is the field of this name where just one service has it, or nil.
func (p places) only(field string) path {
	var found []path
	for _, f := range p.files {
		services := value(f.root, path{"services"})
		for i := 0; field != "" && i+1 < len(services.Content); i += 2 {
			to := path{"services", services.Content[i].Value}.to(strings.Split(field, ".")...)
			if _, depth := follow(f.root, to); depth == len(to) {
				found = append(found, to)
			}
		}
	}
	if len(found) != 1 {
		return nil
	}
	return found[0]
}

// mentioned is the scalar below the field at to that the words end with, such
// as the name of a volume that is not there; or the field itself.
func (p places) mentioned(to path, words string) path {
	fields := strings.FieldsFunc(words, func(r rune) bool { return r == ' ' || r == ':' || r == '"' })
	if len(fields) == 0 {
		return to
	}
	last := fields[len(fields)-1]
	for _, f := range p.files {
		n, d := follow(f.root, to)
		if d < len(to) || n == nil {
			continue
		}
		if found := below(value(f.root, to), last); found != nil {
			return to.to(found...)
		}
	}
	return to
}

// value is the node of a field, not of its key.
func value(n *yaml.Node, to path) *yaml.Node {
	for _, part := range to {
		var next *yaml.Node
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == part {
				next = n.Content[i+1]
			}
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// below finds a key or scalar that is, or begins with, word.
func below(n *yaml.Node, word string) path {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if key == word {
				return path{key}
			}
			if found := below(n.Content[i+1], word); found != nil {
				return append(path{key}, found...)
			}
		}
	case yaml.SequenceNode:
		for i, e := range n.Content {
			if found := below(e, word); found != nil {
				return append(path{strconv.Itoa(i)}, found...)
			}
		}
	case yaml.ScalarNode:
		if n.Value == word || strings.HasPrefix(n.Value, word+":") {
			return path{}
		}
	}
	return nil
}

// comparePlaces orders by file, line and column.
func comparePlaces(x, y string) int {
	a, b := strings.Split(x, ":"), strings.Split(y, ":")
	if len(a) < 3 || len(b) < 3 || a[0] != b[0] {
		return strings.Compare(x, y)
	}
	number := func(s string) int { n, _ := strconv.Atoi(s); return n }
	return cmp.Or(number(a[1])-number(b[1]), number(a[2])-number(b[2]))
}
