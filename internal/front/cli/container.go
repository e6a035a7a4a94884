package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/api/local"
)

func (a *app) logs() *cobra.Command {
	var follow bool
	tail := -1
	c := a.command("logs NAME", "logs", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		k, err := a.kube()
		if err != nil {
			return err
		}
		t, err := a.find(ctx, k, args[0])
		if err != nil {
			return err
		}
		q := url.Values{"follow": {fmt.Sprint(follow)}}
		if t.oneOff != nil {
			if tail >= 0 {
				q.Set("tail", fmt.Sprint(tail))
			}
			n, err := a.node()
			if err != nil {
				return err
			}
			r, err := n.Stream(ctx, http.MethodGet, at(t.oneOff.ID, "/logs?")+q.Encode(), nil)
			if err != nil {
				return err
			}
			return copyAndClose(a.Out, r)
		}
		if tail >= 0 {
			q.Set("tailLines", fmt.Sprint(tail))
		}
		if len(t.pods) == 0 {
			return a.noCopies(t)
		}
		return a.podLogs(ctx, k, t.pods, q)
	})
	c.Flags().BoolVarP(&follow, "follow", "f", false, a.text.get("logs.follow"))
	c.Flags().IntVar(&tail, "tail", -1, a.text.get("logs.tail"))
	return c
}

// podLogs prints the logs of all containers of the pods, each line with its
// pod's name in front where there are several.
func (a *app) podLogs(ctx context.Context, k *client.Kube, pods []client.Pod, q url.Values) error {
	var mu sync.Mutex
	var readers sync.WaitGroup
	var errs []error
	for _, p := range pods {
		for _, c := range p.Spec.Containers {
			label := ""
			if len(pods) > 1 || len(p.Spec.Containers) > 1 {
				label = p.Name + "/" + c.Name + " "
			}
			readers.Go(func() {
				own := url.Values{"container": {c.Name}}
				for key, v := range q {
					own[key] = v
				}
				r, err := k.Stream(ctx, client.PodPath(p.Namespace, p.Name)+"/log?"+own.Encode())
				if err == nil {
					err = copyAndClose(&lines{to: a.Out, mu: &mu, label: label}, r)
				}
				if err != nil && ctx.Err() == nil {
					mu.Lock()
					errs = append(errs, fmt.Errorf("%s: %w", p.Name, err))
					mu.Unlock()
				}
			})
		}
	}
	readers.Wait()
	return errors.Join(errs...)
}

func copyAndClose(w io.Writer, r io.ReadCloser) error {
	_, err := io.Copy(w, r)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, r.Close())
}

func (a *app) exec() *cobra.Command {
	var tty, stdin bool
	c := a.command("exec NAME COMMAND…", "exec", cobra.MinimumNArgs(2), func(ctx context.Context, args []string) error {
		k, err := a.kube()
		if err != nil {
			return err
		}
		t, err := a.find(ctx, k, args[0])
		if err != nil {
			return err
		}
		id := ""
		switch {
		case t.oneOff != nil:
			id = t.oneOff.ID
		case len(t.pods) == 0:
			return a.noCopies(t)
		default:
			if id = t.running(); id == "" {
				return a.execElsewhere(t.pods[0], tty, stdin, args[1:])
			}
		}
		n, err := a.node()
		if err != nil {
			return err
		}
		r := local.Exec{Args: args[1:], TTY: tty, Stdin: stdin}
		return a.session(ctx, n, at(id, "/exec"), tty, stdin, func(w, h uint16) any {
			r.Width, r.Height = w, h
			return r
		})
	})
	c.Flags().SetInterspersed(false)
	c.Flags().BoolVarP(&tty, "tty", "t", false, a.text.get("run.tty"))
	c.Flags().BoolVarP(&stdin, "interactive", "i", false, a.text.get("run.interactive"))
	return c
}

// execElsewhere reaches a pod of another node through the API, by kubectl.
func (a *app) execElsewhere(p client.Pod, tty, stdin bool, command []string) error {
	path, err := a.kubeconfigPath()
	if err != nil {
		return err
	}
	args := []string{"--kubeconfig", path, "-n", p.Namespace, "exec", p.Name}
	if stdin {
		args = append(args, "-i")
	}
	if tty {
		args = append(args, "-t")
	}
	return a.become("kubectl", append(append(args, "--"), command...))
}
