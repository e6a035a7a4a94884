package rollout

import (
	"context"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/counter"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// reconciler brings one app at a time to what it should be.
type reconciler struct {
	client.Client
	direct   client.Reader // past the cache, for what is not in it
	known    client.Reader // the cache, for that of which it has no content
	scheme   *runtime.Scheme
	cfg      Config
	log      *slog.Logger
	gateway  object.Gateway
	events   events.EventRecorder
	history  *counter.History
	judge    Judge
	scalers  *scalers
	measured *measured
	// signaller tells a copy that its configuration has changed.
	signaller Signaller
	digests   *digests
	now       func() time.Time
	written   sync.Map // when the status of an app was written last, by its name
}

// again is how soon an app is looked at while something is under way. The
// clock's ticks come as often; this holds when it stands still.
const again = time.Second

// behind is how soon an app is looked at when the cache does not know yet what
// was written a moment ago.
const behind = 10 * time.Millisecond

// Reconcile looks after one app.
func (r *reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var app v1alpha1.App
	if err := r.Get(ctx, req.NamespacedName, &app); err != nil {
		if apierrors.IsNotFound(err) {
			r.scalers.forget(req.NamespacedName)
			r.written.Delete(req.NamespacedName)
			_, err = r.former(ctx, req.NamespacedName, "")
		}
		return reconcile.Result{}, err
	}
	if app.DeletionTimestamp != nil {
		return reconcile.Result{}, nil // what it owns goes with it
	}
	if app.Status.ObservedGeneration == 0 {
		// A new app may have the name of one whose objects still go.
		if left, err := r.former(ctx, req.NamespacedName, app.UID); err != nil || left > 0 {
			return reconcile.Result{RequeueAfter: behind}, err
		}
	}
	p := &pass{reconciler: r, app: app.DeepCopy(), before: app.Status.DeepCopy(), now: r.now()}
	err := p.run(ctx)
	if err == nil && !p.early() {
		err = p.writeStatus(ctx)
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return reconcile.Result{RequeueAfter: behind}, nil
	}
	if err != nil {
		if apierrors.IsNotFound(err) && apierrors.IsNotFound(r.direct.Get(ctx, req.NamespacedName, &v1alpha1.App{})) {
			return reconcile.Result{}, nil // deleted while it was looked at
		}
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: p.again}, nil
}

// pass is one look at one app.
type pass struct {
	*reconciler
	app    *v1alpha1.App // its status becomes what is written at the end
	before *v1alpha1.AppStatus
	now    time.Time
	again  time.Duration

	revisions []object.Revision // the newest first
	versions  []object.Version  // of the configuration, the newest first
	sources   sources
	asked     string // the revision that the app asks for
	digest    object.Digester
	pods      []corev1.Pod
	problems  []problem // the gravest first
	// volumeFault says why a volume that copies wait for is not there.
	volumeFault string
}

// problem is something wrong with an app.
type problem struct{ reason, message string }

func (p *pass) wrong(reason, message string) {
	p.problems = append(p.problems, problem{reason, message})
}

// run carries out one look. What is wrong with the app itself is a problem and
// no error: it is told in the status, and the old version stays untouched.
func (p *pass) run(ctx context.Context) error {
	if err := p.gather(ctx); err != nil {
		return err
	}
	if err := p.readSources(ctx); err != nil {
		return err
	}
	if err := p.keepVersion(ctx); err != nil {
		return err
	}
	p.app.Status.Config = p.version()
	if changed, err := p.command(ctx); err != nil || changed {
		return err // the app's own change brings the next look
	}
	target, err := p.target(ctx)
	if err != nil {
		return err
	}
	if target != nil {
		p.asked = target.Name
	} else {
		// It cannot be shipped yet; what is live goes on.
		if target = p.revision(p.app.Status.Live); target == nil {
			p.report(p.notYet())
			return nil
		}
	}
	if err := p.configure(ctx, *target); err != nil {
		return err
	}
	if err := p.clear(ctx); err != nil {
		return err
	}
	switch {
	case p.app.Spec.Kind == v1alpha1.Job:
		return p.job(ctx, *target)
	case p.app.Spec.Kind == v1alpha1.Cron:
		return p.cron(ctx, *target)
	case target.Spec.PerNode:
		return p.perNode(ctx, *target)
	case object.Stateful(&target.Spec):
		return p.stateful(ctx, *target)
	default:
		return p.serve(ctx, *target)
	}
}

// writeStatus writes the status if it has changed. The API server refuses it
// when the app was changed since it was read.
func (p *pass) writeStatus(ctx context.Context) error {
	p.app.Status.ObservedGeneration = p.app.Generation
	p.app.Status.LiveConfig = p.liveVersion()
	if equality.Semantic.DeepEqual(*p.before, p.app.Status) {
		return nil
	}
	written := p.app.DeepCopy()
	if err := p.Status().Update(ctx, written); err != nil {
		return err
	}
	p.written.Store(key(p.app), p.now)
	p.app.ResourceVersion = written.ResourceVersion
	p.before = p.app.Status.DeepCopy()
	return nil
}

// countsEvery is how often a status is written of which only counts have
// changed: fifty copies that get ready within two seconds are not fifty writes
// beside those that make them ready.
const countsEvery = 200 * time.Millisecond

// early says whether the status need not be written yet.
func (p *pass) early() bool {
	at, _ := p.written.Load(key(p.app))
	last, ok := at.(time.Time)
	wait := countsEvery - p.now.Sub(last)
	if !ok || wait <= 0 || !equality.Semantic.DeepEqual(withoutCounts(p.before), withoutCounts(&p.app.Status)) {
		return false
	}
	if p.again == 0 || wait < p.again {
		p.again = wait
	}
	return true
}

// withoutCounts is a status without what changes with every copy.
func withoutCounts(st *v1alpha1.AppStatus) *v1alpha1.AppStatus {
	s := st.DeepCopy()
	s.Replicas, s.Ready, s.Copies = 0, 0, ""
	for i := range s.Revisions {
		s.Revisions[i].Ready = 0
	}
	for i := range s.Conditions {
		s.Conditions[i].Message = ""
	}
	return s
}

func key(app *v1alpha1.App) types.NamespacedName {
	return types.NamespacedName{Namespace: app.Namespace, Name: app.Name}
}

func inNamespace(app *v1alpha1.App) client.ListOption { return client.InNamespace(app.Namespace) }

// owned lists what belongs to an app.
func owned(app *v1alpha1.App) []client.ListOption {
	return []client.ListOption{client.InNamespace(app.Namespace), client.MatchingLabels{v1alpha1.LabelApp: app.Name}}
}

// event tells the app's story where kubectl describe shows it.
func (p *pass) event(warning bool, reason, message string) {
	kind := corev1.EventTypeNormal
	if warning {
		kind = corev1.EventTypeWarning
	}
	p.events.Eventf(p.app, nil, kind, reason, reason, "%s", message)
}
