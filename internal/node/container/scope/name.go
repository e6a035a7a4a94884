package scope

import (
	"fmt"
	"path"
	"strings"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

const sliceSuffix = ".slice"

// place is the cgroup of the process that keeps a scope, below it.
const place = "place"

// sliceName is the slice of a cgroup's path: "/sampan-a/local" is
// sampan_a-local.slice. In a slice's name every dash is a level, so that those of the
// path become underscores, as the kubelet writes them.
func sliceName(cgroup string) string {
	levels := strings.Split(strings.Trim(cgroup, "/"), "/")
	for i, l := range levels {
		levels[i] = strings.ReplaceAll(l, "-", "_")
	}
	return strings.Join(levels, "-") + sliceSuffix
}

// slicePath is where the cgroup of a slice is: a-b.slice is in a.slice.
func slicePath(slice string) (string, error) {
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

// sliceOf is the slice that a pod's parent names: the kubelet gives the path of
// one, others a cgroup's path as they would without systemd.
func sliceOf(parent string) string {
	if base := path.Base(parent); strings.HasSuffix(base, sliceSuffix) {
		return base
	}
	return sliceName(parent)
}

// scopeName is the unit of what is called so among ours.
func scopeName(what string) string { return "sampan-" + what + ".scope" }

// scopePath is where the cgroup of a scope is.
func scopePath(parent, scope string) (string, error) {
	if strings.Contains(scope, "/") {
		return "", fmt.Errorf("%q is not the name of a scope: %w", scope, fault.Invalid)
	}
	at, err := slicePath(sliceOf(parent))
	if err != nil {
		return "", err
	}
	return path.Join(at, scope), nil
}
