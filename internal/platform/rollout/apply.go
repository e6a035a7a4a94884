package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// ensure makes o, or brings what is there to it. Fields about which o says
// nothing stay as they are: defaults, and what others have written. It is a
// fault.Exists when the name belongs to somebody else.
func (p *pass) ensure(ctx context.Context, o client.Object) error {
	there, ok := reflect.New(reflect.TypeOf(o).Elem()).Interface().(client.Object)
	if !ok {
		return fmt.Errorf("%T is no object: %w", o, fault.Internal)
	}
	err := p.Get(ctx, client.ObjectKeyFromObject(o), there)
	if apierrors.IsNotFound(err) {
		err := p.Create(ctx, o)
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		// Somebody else's is not in the cache, which holds only ours.
		if err := p.direct.Get(ctx, client.ObjectKeyFromObject(o), there); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if !metav1.IsControlledBy(there, p.app) {
		return taken(o)
	}
	want, err := fields(o)
	if err != nil {
		return err
	}
	have, err := fields(there)
	if err != nil {
		return err
	}
	if contains(have, want) && !withdraw(have, want) {
		return nil
	}
	patch, err := json.Marshal(want)
	if err != nil {
		return err
	}
	return p.Patch(ctx, there, client.RawPatch(mergePatch, patch))
}

const mergePatch = "application/merge-patch+json"

// taken says that a name is somebody else's.
func taken(o client.Object) error {
	kind := reflect.TypeOf(o).Elem().Name()
	return fmt.Errorf("%s %s: the name belongs to somebody else: %w", kind, o.GetName(), fault.Exists)
}

// fields is what an object says, without what the server writes.
func fields(o client.Object) (map[string]any, error) {
	data, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, err
	}
	delete(out, "status")
	delete(out, "kind")
	delete(out, "apiVersion")
	meta, _ := out["metadata"].(map[string]any)
	keep := map[string]any{}
	for _, k := range []string{"labels", "annotations"} {
		if v, ok := meta[k]; ok {
			keep[k] = v
		}
	}
	out["metadata"] = keep
	return out, nil
}

// contains says whether have says all that want says. Lists are compared as a
// whole, element by element.
func contains(have, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return len(w) == 0 && have == nil
		}
		for k, v := range w {
			if v == nil {
				continue
			}
			if !contains(h[k], v) {
				return false
			}
		}
		return true
	case []any:
		h, ok := have.([]any)
		if !ok || len(h) != len(w) {
			return false
		}
		for i := range w {
			if !contains(h[i], w[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(have, want)
}

// gatewayWords are annotations by which an app speaks to the gateway: one that
// is no longer said must go.
const gatewayWords = "gateway.sampan.dev/"

// withdraw makes want take such annotations back, and says whether there are any.
func withdraw(have, want map[string]any) bool {
	annotations := func(o map[string]any) map[string]any {
		meta, _ := o["metadata"].(map[string]any)
		a, _ := meta["annotations"].(map[string]any)
		return a
	}
	old, said, found := annotations(have), annotations(want), false
	for k := range old {
		if _, ok := said[k]; !ok && strings.HasPrefix(k, gatewayWords) {
			if said == nil {
				said = map[string]any{}
				want["metadata"].(map[string]any)["annotations"] = said
			}
			said[k], found = nil, true // null removes it
		}
	}
	return found
}
