package image

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// ParseName reads an image name as docker does: nginx is
// docker.io/library/nginx:latest. A name with a digest means that digest, and
// its tag, if any, is only a comment.
func ParseName(name string) (reference.Named, error) {
	named, err := reference.ParseDockerRef(name)
	if err != nil {
		return nil, fmt.Errorf("image name %q: %w (example: registry.local/library/web:3): %w", name, err, fault.Invalid)
	}
	return named, nil
}

// untagged begins the name of an image that has no name: the digest follows.
// No real name can begin so.
const untagged = "@"

// withDigest is the name of one content in the repository of name.
func withDigest(name reference.Named, d digest.Digest) string {
	return reference.TrimNamed(name).String() + "@" + d.String()
}

// isTag tells a name with a tag from one with a digest.
func isTag(name string) bool { return !strings.Contains(name, "@") }

// repository is a name without tag and digest.
func repository(name string) string {
	if base, _, ok := strings.Cut(name, "@"); ok {
		name = base
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	return name
}
