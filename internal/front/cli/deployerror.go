package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// deployError says what the API finds wrong in the user's terms: each field by
// the place where the user has written it, which place finds; empty when none.
func (a *app) deployError(err error, place func(field string) string) error {
	if noSuchKind(err) {
		return fmt.Errorf("%s: %w", a.text.get("deploy.noapps"), fault.Unsupported)
	}
	var api *client.APIError
	if !errors.As(err, &api) {
		return err
	}
	causes := api.Causes
	if m := undeclared.FindStringSubmatch(api.Message); len(causes) == 0 && m != nil {
		causes = []client.Cause{{Field: m[1], Message: m[2]}}
	}
	if len(causes) == 0 {
		return err
	}
	var errs []error
	for _, c := range causes {
		field := strings.TrimPrefix(c.Field, ".")
		at := place(field)
		if at != "" {
			at += ": "
		}
		if !strings.HasPrefix(at, "--") {
			at += field + ": "
		}
		errs = append(errs, fmt.Errorf("%s%s: %w", at, plain(c.Message), api.Kind))
	}
	return errors.Join(errs...)
}

// undeclared is how server-side apply names a field that does not fit the
// schema: it gives no causes.
var undeclared = regexp.MustCompile(`: (\.[^: ]+): (.*)$`)

// plain takes from the API's sentence what only repeats the field and value.
func plain(message string) string {
	if _, after, ok := strings.Cut(message, " in body "); ok {
		return after
	}
	rest, ok := strings.CutPrefix(message, "Invalid value: ")
	if !ok {
		return message
	}
	d := json.NewDecoder(strings.NewReader(rest))
	var value any
	if d.Decode(&value) != nil {
		return message
	}
	return strings.TrimPrefix(rest[d.InputOffset():], ": ")
}

// noSuchKind tells whether the API knows no apps at all, which it says in the
// same status as that it knows no app of a name.
func noSuchKind(err error) bool {
	var api *client.APIError
	return errors.As(err, &api) && api.Kind == fault.NotFound && strings.Contains(api.Message, "could not find the requested resource")
}
