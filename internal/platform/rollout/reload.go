package rollout

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// A Signaller sends a signal to the first process of a pod's container.
type Signaller interface {
	Signal(ctx context.Context, pod types.NamespacedName, container, signal string) error
}

// refresh is how long a node is given to replace the files of a pod whose
// annotations have changed, which is when it looks at them again.
const refresh = 2 * time.Second

// reload tells running copies that their files have changed. A pod's annotation
// says about which content it has been told; writing it also makes the node
// look at the pod's volumes at once instead of within a minute.
func (p *pass) reload(ctx context.Context) error {
	spec := &p.app.Spec
	if !object.Live(spec) {
		return nil
	}
	hashes := map[string]string{}
	for i := range p.pods {
		pod := &p.pods[i]
		rev := p.revision(pod.Labels[v1alpha1.LabelRevision])
		if rev == nil || pod.DeletionTimestamp != nil || !podReady(pod) {
			continue
		}
		hash, known := hashes[rev.Name]
		if !known {
			hash = p.liveHash(rev)
			hashes[rev.Name] = hash
		}
		if hash == "" {
			continue
		}
		if err := p.reloadPod(ctx, pod, hash); err != nil {
			return err
		}
	}
	return nil
}

// reloading says whether copies of a revision have yet to be told of their files.
func (p *pass) reloading(rev *object.Revision) bool {
	hash := p.liveHash(rev)
	return hash != "" && slices.ContainsFunc(p.pods, func(pod corev1.Pod) bool {
		return pod.Labels[v1alpha1.LabelRevision] == rev.Name && pod.DeletionTimestamp == nil && podReady(&pod) &&
			pod.Annotations[v1alpha1.AnnotationReloaded] != hash
	})
}

// reloadPod takes one pod a step further: its annotation is HASH when all is
// done and HASH@TIME while the node replaces the files.
func (p *pass) reloadPod(ctx context.Context, pod *corev1.Pod, hash string) error {
	told, at, waiting := strings.Cut(pod.Annotations[v1alpha1.AnnotationReloaded], "@")
	since, err := time.Parse(time.RFC3339, at)
	switch {
	case told == "" && !p.changedSince(pod.CreationTimestamp.Time):
		// It started with these files.
		return p.mark(ctx, pod, hash)
	case told != hash:
		p.again = again
		return p.mark(ctx, pod, hash+"@"+p.now.UTC().Format(time.RFC3339))
	case !waiting:
		return nil
	case err == nil && p.now.Sub(since) < refresh:
		p.again = again
		return nil
	}
	if p.app.Spec.Reload.How == "file" {
		// Written a second time: at the first the node may not have heard yet
		// that the content is another.
		return p.mark(ctx, pod, hash)
	}
	signal := p.app.Spec.Reload.Signal
	if signal == "" {
		signal = "HUP"
	}
	if err := p.signaller.Signal(ctx, client.ObjectKeyFromObject(pod), object.ContainerName, signal); err != nil {
		p.wrong(v1alpha1.ReasonReloadFailed, fmt.Sprintf("copy %s could not be sent SIG%s: %v", pod.Name, signal, err))
		p.again = 10 * time.Second
		return nil
	}
	return p.mark(ctx, pod, hash)
}

// changedSince says whether the configuration has changed since a copy was
// made, which then may have started with the files from before.
func (p *pass) changedSince(made time.Time) bool {
	return len(p.versions) > 0 && made.Before(p.versions[0].At)
}

func (p *pass) mark(ctx context.Context, pod *corev1.Pod, text string) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationReloaded, text)
	return client.IgnoreNotFound(p.Patch(ctx, pod.DeepCopy(), client.RawPatch(mergePatch, []byte(patch))))
}

// liveHash is the identity of those files of a revision's copies that change in
// place. It is empty when there are none, and while one is missing.
func (p *pass) liveHash(rev *object.Revision) string {
	spec := object.Configured(p.app, rev.Spec, rev.Own)
	if !object.Live(&spec) {
		return ""
	}
	var parts []any
	for _, f := range p.app.Spec.Files {
		same := func(o v1alpha1.File) bool { return o.Path == f.Path && o.ConfigMap == nil && o.Secret == nil }
		if f.Content != nil && slices.ContainsFunc(spec.Files, same) {
			parts = append(parts, f.Path, *f.Content)
		}
	}
	_, refs := object.Configuration(&spec)
	for _, ref := range refs {
		switch o := p.sources.has[ref.Key()].(type) {
		case *corev1.ConfigMap:
			parts = append(parts, o.Data, o.BinaryData)
		case *corev1.Secret:
			if ref.Key() != object.OwnRef(p.app).Key() || p.sources.own == nil {
				parts = append(parts, o.Data)
				continue
			}
			// Its variables do not change in a running copy.
			for _, name := range slices.Sorted(maps.Keys(rev.Own)) {
				if k := rev.Own[name]; k.Path != "" {
					parts = append(parts, k.Path, o.Data[name])
				}
			}
		default:
			if !ref.Optional {
				p.wrong(v1alpha1.ReasonConfigMissing, "there is no "+ref.Key())
				return ""
			}
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return p.digest.Of(parts...)
}

// nearSignaller asks the one beside it first, which knows the copies of its own
// node, and then one that reaches all of them.
type nearSignaller struct{ near, far Signaller }

// Signal sends it by whichever knows the copy.
func (s nearSignaller) Signal(ctx context.Context, pod types.NamespacedName, container, signal string) error {
	if s.near != nil {
		if err := s.near.Signal(ctx, pod, container, signal); fault.Of(err) != fault.NotFound {
			return err
		}
	}
	return s.far.Signal(ctx, pod, container, signal)
}

// execSignaller runs kill in the container. An image without kill and without
// a shell cannot be signalled that way.
type execSignaller struct{ conn *rest.Config }

// Signal runs kill in the container.
func (e execSignaller) Signal(ctx context.Context, pod types.NamespacedName, container, signal string) error {
	kill := "kill -" + signal + " 1"
	// Most images have a shell that has kill built in; some have only the program.
	err := e.exec(ctx, pod, container, []string{"sh", "-c", kill})
	if err != nil {
		err = e.exec(ctx, pod, container, strings.Fields(kill))
	}
	return err
}

func (e execSignaller) exec(ctx context.Context, pod types.NamespacedName, container string, command []string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cs, err := kubernetes.NewForConfig(e.conn)
	if err != nil {
		return err
	}
	url := cs.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdout: true, Stderr: true}, clientgoscheme.ParameterCodec).URL()
	run, err := remotecommand.NewWebSocketExecutor(e.conn, "GET", url.String())
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := run.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out, Stderr: &out}); err != nil {
		return fmt.Errorf("%s: %w %s", strings.Join(command, " "), err, strings.TrimSpace(out.String()))
	}
	return nil
}
