package cli

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

//go:embed messages/*.json
var files embed.FS

// text holds every sentence in one language, by key.
type text map[string]string

// language picks the messages by the locale, as gettext does: SAMPAN_LANG, then
// LC_ALL, LC_MESSAGES and LANG.
func language(getenv func(string) string) text {
	name := "en"
	for _, v := range []string{"SAMPAN_LANG", "LC_ALL", "LC_MESSAGES", "LANG"} {
		if l := getenv(v); l != "" {
			if strings.HasPrefix(l, "zh") {
				name = "zh"
			}
			break
		}
	}
	return load(name)
}

// load reads the messages of one language. They are embedded, so a failure is a
// mistake in this package, which its test finds.
func load(name string) text {
	data, err := files.ReadFile("messages/" + name + ".json")
	if err != nil {
		panic(err)
	}
	var t text
	if err := json.Unmarshal(data, &t); err != nil {
		panic(err)
	}
	return t
}

// get returns the sentence for key, with args in its places. A key that does not
// exist is shown as it is, so that it is noticed.
func (t text) get(key string, args ...any) string {
	s, ok := t[key]
	if !ok {
		return key
	}
	if len(args) == 0 {
		return s
	}
	return fmt.Sprintf(s, args...)
}

// error is an error in the user's language: what the command line itself says
// already is, but not the kind at its end, nor that the other side is away.
func (t text) error(err error) string {
	message := err.Error()
	for e, words := range map[error]string{client.ErrNoDaemon: t.get("no.daemon"), client.ErrNoAnswer: t.get("no.answer")} {
		if errors.Is(err, e) {
			message = strings.ReplaceAll(message, strings.TrimSuffix(e.Error(), ": "+string(fault.Of(e))), words)
		}
	}
	lines := strings.Split(message, "\n")
	for i, line := range lines {
		kind := line[strings.LastIndex(line, ": ")+1:] // with its space, or all of the line
		key := strings.ReplaceAll(kind, " ", "")
		if words := t.get("fault." + key); words != "fault."+key {
			lines[i] = strings.TrimSuffix(line, strings.TrimSpace(kind)) + words
		}
	}
	return strings.Join(lines, "\n")
}
