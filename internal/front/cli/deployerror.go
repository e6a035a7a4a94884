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
	causes, kind := api.Causes, api.Kind
	if m := undeclared.FindStringSubmatch(api.Message); len(causes) == 0 && m != nil {
		causes, kind = []client.Cause{{Field: m[1], Message: m[2]}}, fault.Invalid
	}
	if len(causes) == 0 {
		return err
	}
	var errs []error
	said := map[string]bool{}
	for _, c := range causes {
		field := strings.TrimPrefix(c.Field, ".")
		if field == "<nil>" { // the object as a whole
			field = ""
		}
		var words []string
		at := place(field)
		if at != "" {
			words = append(words, at)
		}
		if field != "" && !strings.HasPrefix(at, "--") {
			words = append(words, field)
		}
		sentence := strings.Join(append(words, a.plain(c.Message)), ": ")
		if !said[sentence] { // one flag may be two fields
			said[sentence] = true
			errs = append(errs, fmt.Errorf("%s: %w", sentence, kind))
		}
	}
	return errors.Join(errs...)
}

// undeclared is how server-side apply names a field that does not fit the
// schema: it gives no causes.
var undeclared = regexp.MustCompile(`: (\.[^: ]+): (.*)$`)

// plain takes from the API's sentence what only repeats the field and value.
func (a *app) plain(message string) string {
	if strings.Contains(message, quantity) {
		return a.text.get("deploy.badquantity")
	}
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
		return rest
	}
	return strings.TrimPrefix(rest[d.InputOffset():], ": ")
}

// quantity is how the pattern of a quantity begins, which tells people little.
const quantity = `'^(\+|-)?(([0-9]+(\.[0-9]*)?)|`

// noSuchKind tells whether the API knows no apps at all, which it says in the
// same status as that it knows no app of a name.
func noSuchKind(err error) bool {
	var api *client.APIError
	return errors.As(err, &api) && api.Kind == fault.NotFound && strings.Contains(api.Message, "could not find the requested resource")
}
