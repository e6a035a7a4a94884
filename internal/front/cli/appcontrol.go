package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func (a *app) appPause() *cobra.Command {
	return a.command("pause NAME", "app.pause", cobra.ExactArgs(1), a.control("pause"))
}

func (a *app) appResume() *cobra.Command {
	return a.command("resume NAME", "app.resume", cobra.ExactArgs(1), a.control("resume"))
}

func (a *app) appPromote() *cobra.Command {
	return a.command("promote NAME", "app.promote", cobra.ExactArgs(1), a.control("promote"))
}

func (a *app) appAbort() *cobra.Command {
	return a.command("abort NAME", "app.abort", cobra.ExactArgs(1), a.control("abort"))
}

func (a *app) appRollback() *cobra.Command {
	return a.command("rollback NAME [REVISION]", "app.rollback", cobra.RangeArgs(1, 2), func(ctx context.Context, args []string) error {
		verb := "rollback"
		if len(args) == 2 {
			verb += ":" + strings.TrimPrefix(args[1], "r")
		}
		return a.control(verb)(ctx, args[:1])
	})
}

// control asks for something once and says what came of it.
func (a *app) control(verb string) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		k, err := a.kube()
		if err != nil {
			return err
		}
		done, err := a.ask(ctx, k, args[0], verb)
		if err != nil {
			return a.appError(err, args[0])
		}
		fmt.Fprintln(a.Out, strings.TrimSpace(args[0]+": "+done))
		return nil
	}
}

// answerLimit is how long the cloud may take to obey.
const answerLimit = 15 * time.Second

// ask gives an app a command and waits for what came of it.
func (a *app) ask(ctx context.Context, k *client.Kube, name, verb string) (string, error) {
	id := strings.ToLower(rand.Text()[:8])
	patch := object{"metadata": object{"annotations": object{client.AnnotationCommand: verb + "#" + id}}}
	if err := k.Merge(ctx, client.AppPath(k.Namespace, name), patch, nil); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit,
		fmt.Errorf("%s: %w", a.text.get("app.noanswer", answerLimit), fault.Timeout))
	defer cancel()
	changes, stop := a.watchApp(ctx, k, name)
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case c := <-changes:
			if c.err != nil {
				return "", c.err
			}
			answer := c.app.Status.Command
			switch {
			case answer == nil || answer.ID != id:
			case answer.Done:
				return answer.Message, nil
			default:
				verb, _, _ = strings.Cut(verb, ":") // as the user called it
				return "", fmt.Errorf("%s %s: %s: %w", verb, name, answer.Message, fault.Precondition)
			}
		}
	}
}
