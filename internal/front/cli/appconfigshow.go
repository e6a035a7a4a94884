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

// setting is one line of `sampan app config show`.
type setting struct {
	Key    string `json:"key"`
	File   bool   `json:"file,omitempty"`
	Value  string `json:"value,omitempty"`
	Secret bool   `json:"secret,omitempty"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
	Source string `json:"source"`
	own    bool
	whole  bool
	copied client.ConfigSource
	key    string // in the source
}

// settings are the values of a version: the app's own first.
func settings(v client.ConfigVersion) []setting {
	var list []setting
	for _, s := range v.Data.Sources {
		for _, value := range s.Values {
			one := setting{
				Key: value.Key, Value: value.Text, Secret: value.Secret, Digest: short(value.Digest), Size: value.Size,
				Source: strings.ToLower(s.Kind) + "/" + s.Name, own: s.Own, whole: value.Whole, copied: s, key: value.Key,
			}
			if value.Path != "" {
				one.Key, one.File = value.Path, true
			}
			list = append(list, one)
		}
	}
	return list
}

// id tells settings apart.
func (s setting) id() string {
	if s.own {
		return s.Key
	}
	return s.Source + " " + s.Key
}

// shown is a value in one line. What is secret is known by its digest.
func (a *app) shown(s setting) string {
	switch {
	case s.Secret:
		return a.text.get("app.config.masked", s.Digest)
	case s.whole && !s.File && !strings.Contains(s.Value, "\n"):
		return s.Value
	}
	return fmt.Sprintf("%s, %s", size(s.Size), s.Digest)
}

func (a *app) configShow() *cobra.Command {
	var at string
	c := a.command("show NAME [KEY|PATH]", "app.config.show", cobra.RangeArgs(1, 2), func(ctx context.Context, args []string) error {
		k, c, err := a.openConfiguration(ctx, args[0])
		if err != nil {
			return err
		}
		v := c.newest()
		if at != "" {
			if v, err = a.findVersion(&c, at); err != nil {
				return err
			}
		}
		list := settings(v)
		if len(args) == 2 {
			return a.showOne(ctx, k, args[0], args[1], list)
		}
		return a.print(shownConfig{versionName(v.Data.Number), v.Data.By, list}, func() { a.showSettings(&c, v, list) })
	})
	c.Flags().StringVar(&at, "version", "", a.text.get("app.config.version"))
	return a.outputFlag(c)
}

type shownConfig struct {
	Version  string    `json:"version"`
	By       string    `json:"by,omitempty"`
	Settings []setting `json:"settings"`
}

func (a *app) showSettings(c *configuration, v client.ConfigVersion, list []setting) {
	if len(list) == 0 {
		fmt.Fprintln(a.Out, a.text.get("app.config.none", c.app.Name, c.app.Name))
		return
	}
	head := func(column string) string { return a.text.get("app.column." + column) }
	columns := []string{head("key"), head("value")}
	others := slices.ContainsFunc(list, func(s setting) bool { return !s.own })
	if others {
		columns = append(columns, head("source"))
	}
	t := a.table(columns...)
	for _, s := range list {
		row := []string{s.Key, a.shown(s)}
		if others {
			source := s.Source
			if s.own {
				source = ""
			}
			row = append(row, source)
		}
		t.row(row...)
	}
	t.flush()
	if n, s := v.Data.Number, c.app.Status; n == s.Config && n != s.LiveConfig && s.Live != "" {
		fmt.Fprintln(a.Err, a.text.get("app.config.notlive", versionName(v.Data.Number), c.app.Status.Live, c.app.Name))
	}
}

// showOne prints one value as it is, for a pipe. A secret one is not printed.
func (a *app) showOne(ctx context.Context, k *client.Kube, name, key string, list []setting) error {
	for _, s := range list {
		if s.Key != key {
			continue
		}
		if s.Secret {
			return fmt.Errorf("%s: %w", a.text.get("app.config.issecret", key, s.Digest), fault.Forbidden)
		}
		value, err := a.whole(ctx, k, s)
		if err != nil {
			return err
		}
		if !s.File {
			value += "\n"
		}
		fmt.Fprint(a.Out, value)
		return nil
	}
	return fmt.Errorf("%s: %w", a.text.get("app.config.nokey", name, key), fault.NotFound)
}

// whole is a value with all its text, from the version's copy where the version
// itself does not have it.
func (a *app) whole(ctx context.Context, k *client.Kube, s setting) (string, error) {
	if s.whole {
		return s.Value, nil
	}
	data, err := copied(ctx, k, s.copied)
	return string(data[s.key]), err
}

// copied reads the copy of a source that a version leads to.
func copied(ctx context.Context, k *client.Kube, s client.ConfigSource) (map[string][]byte, error) {
	if s.Kind == "Secret" {
		var kept client.Secret
		err := k.Get(ctx, client.SecretPath(k.Namespace, s.Copy), &kept)
		return kept.Data, err
	}
	var kept client.ConfigMap
	if err := k.Get(ctx, client.ConfigMapPath(k.Namespace, s.Copy), &kept); err != nil {
		return nil, err
	}
	data := kept.BinaryData
	if data == nil {
		data = map[string][]byte{}
	}
	for key, text := range kept.Data {
		data[key] = []byte(text)
	}
	return data, nil
}
