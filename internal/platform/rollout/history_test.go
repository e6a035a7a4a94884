package rollout

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

func TestATagThatHasMovedDoesNotChangeARevision(t *testing.T) {
	old, moved := "docker.io/library/web@sha256:"+strings.Repeat("1", 64), "docker.io/library/web@sha256:"+strings.Repeat("2", 64)
	leads := old
	w := newWorld(t, web("web"))
	w.r.cfg.Resolve = func(context.Context, string) (string, error) { return leads, nil }
	runs := func(revision string) string {
		return w.deployment("web-" + revision).Spec.Template.Spec.Containers[0].Image
	}
	w.ticks(3)
	expect(t, "image of the first revision", runs("r1"), old)
	leads = moved
	w.change("web", func(a *v1alpha1.App) { a.Spec.Args = []string{"again"} })
	w.ticks(12)
	expect(t, "live", w.app("web").Status.Live, "r2")
	expect(t, "image of the second, by the same name", runs("r2"), moved)
	w.order("web", "rollback:1#a")
	w.ticks(12)
	expect(t, "live after the rollback", w.app("web").Status.Live, "r1")
	expect(t, "image after the rollback", runs("r1"), old)
}

func TestARegistryThatDoesNotAnswerDelaysNothing(t *testing.T) {
	w := newWorld(t, web("web"))
	w.r.cfg.Resolve = func(context.Context, string) (string, error) { return "", errors.New("connection refused") }
	w.ticks(3)
	expect(t, "copies", w.copies(), "web-r1=1")
	expect(t, "image once a copy runs", w.app("web").Status.Revisions[0].Image, "docker.io/web@sha256:"+strings.Repeat("a", 64))
}
