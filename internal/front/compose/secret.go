package compose

import (
	"encoding/base64"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/compose-spec/compose-go/v2/types"
)

// secrets become Secrets and configs become ConfigMaps, each with one key.
func (c *converter) secrets() {
	for _, name := range sortedKeys(c.project.Secrets) {
		object, key := c.secretKey(name)
		c.content("Secret", path{"secrets", name}, types.FileObjectConfig(c.project.Secrets[name]), object, key)
	}
}

func (c *converter) configs() {
	for _, name := range sortedKeys(c.project.Configs) {
		object, key := c.configKey(name)
		c.content("ConfigMap", path{"configs", name}, types.FileObjectConfig(c.project.Configs[name]), object, key)
	}
}

// secretKey is the object and the key in it that a secret of the file means.
func (c *converter) secretKey(name string) (object, key string) {
	return objectName(c.project.Secrets[name].Name, name), keyOf(name)
}

func (c *converter) configKey(name string) (object, key string) {
	return objectName(c.project.Configs[name].Name, name), keyOf(name)
}

func objectName(full, name string) string { return appName(orElse(full, name)) }

var noKey = regexp.MustCompile(`[^-._a-zA-Z0-9]+`)

// keyOf is a name as a key of a Secret or ConfigMap may be.
func keyOf(name string) string { return noKey.ReplaceAllString(name, "-") }

// content makes the object of one secret or config.
func (c *converter) content(kind string, at path, f types.FileObjectConfig, object, key string) {
	if bool(f.External) {
		c.note(at, WhyExisting, kind, object, key)
		return
	}
	if f.Driver != "" || f.TemplateDriver != "" {
		c.note(at, WhyMeaningless)
	}
	data, ok := c.read(at, f)
	if !ok {
		return
	}
	o := map[string]any{"apiVersion": "v1", "kind": kind, "metadata": c.meta(object)}
	switch {
	case kind == "Secret" || !utf8.Valid(data):
		field := "data"
		if kind == "ConfigMap" {
			field = "binaryData"
		}
		o[field] = map[string]any{key: base64.StdEncoding.EncodeToString(data)}
	default:
		o["data"] = map[string]any{key: string(data)}
	}
	c.add(at, o)
}

func (c *converter) read(at path, f types.FileObjectConfig) ([]byte, bool) {
	switch {
	case f.File != "":
		data, err := os.ReadFile(f.File)
		if err != nil {
			c.refuse(at.to("file"), "%s", strings.TrimPrefix(err.Error(), "open "))
			return nil, false
		}
		return data, true
	case f.Environment != "":
		value, ok := c.project.Environment[f.Environment]
		if !ok {
			c.refuse(at.to("environment"), "the variable %s is not set", f.Environment)
		}
		return []byte(value), ok
	}
	return []byte(f.Content), true
}
