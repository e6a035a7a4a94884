package scope

import (
	"fmt"
	"path"
	"strings"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

const (
	sliceSuffix = ".slice"
	scopeSuffix = ".scope"
)

// place is the cgroup of the process that keeps a scope, below it.
const place = "place"

// SliceName is the slice of a cgroup's path: "/sampan-a/local" is
// sampan_a-local.slice. In a slice's name every dash is a level, so that those of the
// path become underscores, as the kubelet writes them.
func SliceName(cgroup string) string {
	levels := strings.Split(strings.Trim(cgroup, "/"), "/")
	for i, l := range levels {
		levels[i] = strings.ReplaceAll(l, "-", "_")
	}
	return strings.Join(levels, "-") + sliceSuffix
}

// SlicePath is where the cgroup of a slice is: a-b.slice is in a.slice.
func SlicePath(slice string) (string, error) {
	name, ok := strings.CutSuffix(slice, sliceSuffix)
	if !ok || strings.Contains(name, "/") {
		return "", fmt.Errorf("%q is not the name of a slice: %w", slice, fault.Invalid)
	}
	at, prefix := "/", ""
	for level := range strings.SplitSeq(name, "-") {
		if level == "" {
			return "", fmt.Errorf("%q is not the name of a slice: %w", slice, fault.Invalid)
		}
		at = path.Join(at, prefix+level+sliceSuffix)
		prefix += level + "-"
	}
	return at, nil
}

// Path is where the cgroup of a scope in a slice is.
func Path(slice, scope string) (string, error) {
	if !strings.HasSuffix(scope, scopeSuffix) || strings.Contains(scope, "/") {
		return "", fmt.Errorf("%q is not the name of a scope: %w", scope, fault.Invalid)
	}
	at, err := SlicePath(slice)
	if err != nil {
		return "", err
	}
	return path.Join(at, scope), nil
}
