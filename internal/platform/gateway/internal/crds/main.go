// Command crds writes the Gateway API's definitions, as they are in the module
// that this one depends on, into one file with one object a line: the standard
// channel, and of the experimental one what the gateway serves.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// experimental are the definitions that are not in the standard channel.
var experimental = []string{"gateway.networking.k8s.io_tcproutes.yaml", "gateway.networking.k8s.io_udproutes.yaml"}

func main() {
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "crds:", err)
		os.Exit(1)
	}
}

func write(to string) error {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	crds := filepath.Join(strings.TrimSpace(string(dir)), "config/crd")
	// The policy beside the definitions forbids installing experimental ones
	// later, which is for the operator to decide.
	files, err := filepath.Glob(filepath.Join(crds, "standard/*s.yaml"))
	if err != nil {
		return err
	}
	for _, name := range experimental {
		files = append(files, filepath.Join(crds, "experimental", name))
	}
	var out bytes.Buffer
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		var object map[string]any
		if err := yaml.Unmarshal(data, &object); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		if object["kind"] != "CustomResourceDefinition" {
			continue
		}
		// What the API server says of a definition is not for us to apply.
		delete(object, "status")
		line, err := json.Marshal(object)
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		out.Write(append(line, '\n'))
	}
	return os.WriteFile(to, out.Bytes(), 0o644)
}
