package engine

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// maxMappings is how many lines the kernel takes for a user namespace.
const maxMappings = 340

// UserNamespaces tells why pods of a runtime handler cannot have users of their
// own; nil means that they can.
func (e *Engine) UserNamespaces(handler string) error {
	if handler != "" {
		return fmt.Errorf("runtime handler %q: only the native runtime makes user namespaces: %w", handler, fault.Precondition)
	}
	return e.users()
}

// checkUser refuses mappings that the kernel would not take, or that would leave
// the pod without a root.
func (e *Engine) checkUser(cfg *PodConfig) error {
	u := cfg.User
	if u == nil {
		return nil
	}
	for _, side := range []struct {
		field string
		maps  []IDMap
	}{{"uids", u.UIDs}, {"gids", u.GIDs}} {
		if err := checkMappings(side.maps); err != nil {
			return fmt.Errorf("pod: namespace_options.userns_options.%s%w", side.field, err)
		}
	}
	for _, shared := range []struct {
		field string
		mode  Mode
	}{{"network", cfg.Net}, {"pid", cfg.PID}, {"ipc", cfg.IPC}} {
		// The pod's root would see what is the host's and could not use it.
		if shared.mode == ModeNode {
			return fmt.Errorf("pod: namespace_options.%s is the node's, which a pod with userns_options cannot share: %w", shared.field, fault.Invalid)
		}
	}
	if err := e.UserNamespaces(cfg.Handler); err != nil {
		return fmt.Errorf("pod: namespace_options.userns_options: %w", err)
	}
	return nil
}

// sameUsers tells whether a container asks for the pod's own users.
func sameUsers(a, b *UserNamespace) bool {
	return b != nil && slices.Equal(a.UIDs, b.UIDs) && slices.Equal(a.GIDs, b.GIDs)
}

// checkMappings returns an error that continues the field's name.
func checkMappings(maps []IDMap) error {
	if len(maps) == 0 {
		return fmt.Errorf(" is empty: %w", fault.Invalid)
	}
	if len(maps) > maxMappings {
		return fmt.Errorf(": %d mappings are more than the kernel's %d: %w", len(maps), maxMappings, fault.Invalid)
	}
	for i, m := range maps {
		switch {
		case m.Size == 0:
			return fmt.Errorf("[%d].length is 0: %w", i, fault.Invalid)
		case uint64(m.Host)+uint64(m.Size) > math.MaxUint32, uint64(m.Container)+uint64(m.Size) > math.MaxUint32:
			return fmt.Errorf("[%d] ends beyond the last possible ID: %w", i, fault.Invalid)
		}
		for j, other := range maps[:i] {
			if overlap(m.Host, other.Host, m.Size, other.Size) || overlap(m.Container, other.Container, m.Size, other.Size) {
				return fmt.Errorf("[%d] overlaps with [%d]: %w", i, j, fault.Invalid)
			}
		}
	}
	if _, ok := hostID(maps, 0); !ok {
		return fmt.Errorf(" does not map 0: %w", fault.Invalid)
	}
	return nil
}

func overlap(a, b, sizeA, sizeB uint32) bool {
	return uint64(a) < uint64(b)+uint64(sizeB) && uint64(b) < uint64(a)+uint64(sizeA)
}

// hostID translates an ID of the pod to the host's.
func hostID(maps []IDMap, id uint32) (uint32, bool) {
	for _, m := range maps {
		if id >= m.Container && id-m.Container < m.Size {
			return m.Host + id - m.Container, true
		}
	}
	return 0, false
}

// root is the pod's root as the host knows it.
func (u *UserNamespace) root() (uid, gid int) {
	if u == nil {
		return 0, 0
	}
	uid32, _ := hostID(u.UIDs, 0)
	gid32, _ := hostID(u.GIDs, 0)
	return int(uid32), int(gid32)
}

// mappings are u's in the words of the runtime.
func (u *UserNamespace) mappings() (uids, gids []specs.LinuxIDMapping) {
	if u == nil {
		return nil, nil
	}
	return idMappings(u.UIDs), idMappings(u.GIDs)
}

func idMappings(in []IDMap) []specs.LinuxIDMapping {
	var out []specs.LinuxIDMapping
	for _, m := range in {
		out = append(out, specs.LinuxIDMapping{ContainerID: m.Container, HostID: m.Host, Size: m.Size})
	}
	return out
}

// checkMapped refuses users and groups that the pod's user namespace does not have.
func (b *builder) checkMapped(u specs.User) error {
	maps := b.pod.Config.User
	if maps == nil {
		return nil
	}
	if _, ok := hostID(maps.UIDs, u.UID); !ok {
		return fmt.Errorf("user %d is not mapped in the pod's userns_options.uids: %w", u.UID, fault.Invalid)
	}
	for _, g := range append([]uint32{u.GID}, u.AdditionalGids...) {
		if _, ok := hostID(maps.GIDs, g); !ok {
			return fmt.Errorf("group %d is not mapped in the pod's userns_options.gids: %w", g, fault.Invalid)
		}
	}
	return nil
}

// splitSysctls tells a pod's settings of its network from the others.
func splitSysctls(all map[string]string) (net, other map[string]string) {
	net, other = map[string]string{}, map[string]string{}
	for key, value := range all {
		if strings.HasPrefix(strings.ReplaceAll(key, "/", "."), "net.") {
			net[key] = value
		} else {
			other[key] = value
		}
	}
	return net, other
}
