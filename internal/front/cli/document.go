package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// document is one object of a YAML or JSON file, with the places of its fields.
type document struct {
	file   string
	node   *yaml.Node
	object object
}

// parseDocuments reads all documents of a file.
func parseDocuments(file string, r io.Reader, t text) ([]document, error) {
	var docs []document
	for d := yaml.NewDecoder(r); ; {
		var n yaml.Node
		err := d.Decode(&n)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, misplaced(file, err)
		}
		if len(n.Content) == 0 || n.Content[0].Tag == "!!null" {
			continue // nothing between two separators
		}
		doc := document{file: file, node: n.Content[0]}
		if err := n.Decode(&doc.object); err != nil {
			return nil, fmt.Errorf("%s:%d:%d: %s: %w", file, doc.node.Line, doc.node.Column, t.get("deploy.noobject"), fault.Invalid)
		}
		docs = append(docs, doc)
	}
}

// misplaced puts the parser's words into the form FILE:LINE:COLUMN: WHAT.
func misplaced(file string, err error) error {
	var at *yaml.LoadError
	if errors.As(err, &at) && at.Mark.Line > 0 {
		return fmt.Errorf("%s:%d:%d: %s: %w", file, at.Mark.Line, at.Mark.Column, at.Message, fault.Invalid)
	}
	return fmt.Errorf("%s: %w: %w", file, err, fault.Invalid)
}

var fieldPart = regexp.MustCompile(`[^.\[\]]+|\[[^\]]*\]`)

// at is where a field such as spec.ports[0].port stands, or the innermost
// thing around it that is there.
func (d document) at(field string) string {
	n := d.node
	line, column := n.Line, n.Column
	for _, part := range fieldPart.FindAllString(field, -1) {
		var key *yaml.Node
		if key, n = child(n, part); n == nil {
			break
		}
		line, column = key.Line, key.Column
	}
	return fmt.Sprintf("%s:%d:%d", d.file, line, column)
}

// child is the value of a field, or of [3] or [name="x"] in a list, and what to
// point at.
func child(n *yaml.Node, part string) (key, value *yaml.Node) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	inner, element := strings.CutPrefix(part, "[")
	inner = strings.TrimSuffix(inner, "]")
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == inner {
				return n.Content[i], n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(inner); err == nil && element && i < len(n.Content) {
			return n.Content[i], n.Content[i]
		}
		name, value, ok := strings.Cut(inner, "=")
		for _, e := range n.Content {
			if _, v := child(e, name); ok && v != nil && v.Value == strings.Trim(value, `"`) {
				return e, e
			}
		}
	}
	return nil, nil
}

// composeNames are the files that docker compose looks for, in its order.
var composeNames = []string{"compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"}

// filesAt is what a path on the command line means: itself, a directory's
// compose file, or all objects in the directory.
func filesAt(path string, t text) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	for _, name := range composeNames {
		f := filepath.Join(path, name)
		if _, err := os.Stat(f); err == nil {
			return []string{f}, nil
		}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: %s: %w", path, t.get("deploy.nofiles"), fault.NotFound)
	}
	return files, nil
}
