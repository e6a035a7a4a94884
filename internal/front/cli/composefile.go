package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// compose has the daemon's program turn compose files into objects: the library
// that reads them would cost every other command more time than it takes. What
// the files say that has no meaning here is told on stderr.
func (a *app) compose(ctx context.Context, files, profiles []string) ([]applied, error) {
	f, err := a.settings()
	if err != nil {
		return nil, err
	}
	args := []string{"compose"}
	for _, p := range profiles {
		args = append(args, "--profile", p)
	}
	cmd := exec.CommandContext(ctx, program(f), append(args, files...)...)
	var out, why bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.In, &out, &why
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return nil, fmt.Errorf("%s", strings.TrimPrefix(strings.TrimSpace(why.String()), "sampand: "))
	case err != nil:
		return nil, fmt.Errorf("%s: %w", a.text.get("no.program", program(f)), fault.Precondition)
	}
	var result struct {
		Objects []struct {
			Object object
			Place  string
		}
		Notes []composeNote
	}
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		return nil, fmt.Errorf("sampand compose: %w", err)
	}
	for _, n := range result.Notes {
		fmt.Fprintln(a.Err, a.composeNote(n))
	}
	var all []applied
	for _, o := range result.Objects {
		all = append(all, applied{o.Object, func(string) string { return o.Place }})
	}
	return all, nil
}

// composeNote is something in a compose file that is not done as it stands.
type composeNote struct {
	Place, Field, Why string
	Args              []string
}

func (a *app) composeNote(n composeNote) string {
	args := make([]any, len(n.Args))
	for i, arg := range n.Args {
		args[i] = arg
	}
	return n.Place + ": " + n.Field + ": " + a.text.get("deploy.note."+n.Why, args...)
}
