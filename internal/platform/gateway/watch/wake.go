package watch

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// annotationWake is when somebody last wanted an App that may have no copy.
const annotationWake = "apps.sampan.dev/wake"

// annotationListening is on Services whose copies are ready as soon as they take
// a connection.
const annotationListening = "apps.sampan.dev/ready-when-listening"

// wakeLimit is how long one order may take to reach the API.
const wakeLimit = 5 * time.Second

// Waker writes the order to start on Apps. It is a service: orders given while
// it does not run, or faster than they can be carried out, are dropped, and
// whoever waits for the App gives them again.
type Waker struct {
	patch  Patch
	log    *slog.Logger
	orders chan order
}

type order struct{ namespace, app string }

// Patch applies a merge patch to an App.
type Patch func(ctx context.Context, namespace, app string, patch []byte) error

// PatchApps patches Apps through client.
func PatchApps(client rest.Interface) Patch {
	return func(ctx context.Context, namespace, app string, patch []byte) error {
		return client.Patch(types.MergePatchType).
			AbsPath("/apis/apps.sampan.dev/v1alpha1/namespaces", namespace, "apps", app).
			Body(patch).Do(ctx).Error()
	}
}

// NewWaker returns a Waker that reaches Apps by patch.
func NewWaker(patch Patch, log *slog.Logger) *Waker {
	return &Waker{patch: patch, log: log, orders: make(chan order, 256)}
}

// Wake orders an App to start.
func (w *Waker) Wake(namespace, app string) {
	select {
	case w.orders <- order{namespace, app}:
	default:
	}
}

// wakers is how many orders are on their way at once.
const wakers = 8

// Run carries out orders until ctx ends.
func (w *Waker) Run(ctx context.Context, ready func()) error {
	done := make(chan struct{})
	for range wakers {
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				select {
				case <-ctx.Done():
					return
				case o := <-w.orders:
					if err := w.carryOut(ctx, o); err != nil && ctx.Err() == nil {
						w.log.Warn("app not woken", "app", o.namespace+"/"+o.app, "err", err)
					}
				}
			}
		}()
	}
	ready()
	for range wakers {
		<-done
	}
	return nil
}

func (w *Waker) carryOut(ctx context.Context, o order) error {
	ctx, cancel := context.WithTimeout(ctx, wakeLimit)
	defer cancel()
	body := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, annotationWake, time.Now().UTC().Format(time.RFC3339Nano))
	return w.patch(ctx, o.namespace, o.app, []byte(body))
}
