package image

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
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
	if err == nil {
		err = checkHost(reference.Domain(named))
	}
	if err != nil {
		return nil, fmt.Errorf("image name %q: %w (example: registry.local/library/web:3): %w", name, err, fault.Invalid)
	}
	return named, nil
}

// checkHost refuses what can be no registry's address, before DNS is asked for it
// and answers after a while.
func checkHost(host string) error {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.Trim(host, "[]"), ""
	}
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		return fmt.Errorf("%s is not a port", port)
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return nil
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case len(name) > 253:
		return fmt.Errorf("its registry's name has more than 253 characters")
	case slices.ContainsFunc(strings.Split(name, "."), func(label string) bool { return len(label) > 63 }):
		return fmt.Errorf("a part of its registry's name has more than 63 characters")
	case last != name && strings.Trim(last, "0123456789") == "":
		return fmt.Errorf("its registry, %s, is neither an address nor a name", name)
	case port == "" && last == name && strings.ToLower(name) != name:
		// For the grammar its upper case makes it a host. Nobody has meant one.
		return fmt.Errorf("repositories are written in lower case, and no registry is called %s", name)
	}
	return nil
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
