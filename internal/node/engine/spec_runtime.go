package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sampan-cloud/sampan/internal/node/container"
)

// chooseRuntime decides which path runs the container: the one that the pod
// names, or a stock runtime where the native one cannot do what is asked for.
func (b *builder) chooseRuntime(ctx context.Context, spec *container.Spec) error {
	choice, err := b.engine.parts.Runtime.Choose(ctx, *spec)
	if err != nil {
		return fmt.Errorf("runtime: %w", err)
	}
	spec.Runtime = choice.Runtime
	b.rec.Runtime, b.rec.RuntimeReason = choice.Runtime, choice.Reason
	if choice.Reason != "" {
		b.engine.log.Info("a stock runtime runs the container, the native one cannot",
			"container", b.rec.ID, "pod", b.pod.ID, "runtime", choice.Runtime, "reason", choice.Reason)
	}
	return nil
}

// annotations hands on those that the node's configuration lets through to a
// stock runtime. Others are not its business: some of crun's reach the host's files.
func (b *builder) annotations() {
	for _, from := range []map[string]string{b.pod.Config.Annotations, b.rec.Config.Annotations} {
		for key, value := range from {
			if !b.engine.handsOn(key) {
				continue
			}
			if b.spec.Annotations == nil {
				b.spec.Annotations = map[string]string{}
			}
			b.spec.Annotations[key] = value
		}
	}
}

func (e *Engine) handsOn(annotation string) bool {
	return slices.ContainsFunc(e.cfg.Annotations, func(pattern string) bool {
		prefix, open := strings.CutSuffix(pattern, "*")
		return annotation == pattern || open && strings.HasPrefix(annotation, prefix)
	})
}
