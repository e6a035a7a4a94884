package translate

import gw "sigs.k8s.io/gateway-api/apis/v1"

// grantKey is who may refer into a namespace.
type grantKey struct {
	group, kind, from, to string
}

func (t *translation) indexGrants() {
	t.grants = map[grantKey][]gw.ReferenceGrantTo{}
	for _, g := range t.Grants {
		for _, from := range g.Spec.From {
			key := grantKey{string(from.Group), string(from.Kind), string(from.Namespace), g.Namespace}
			t.grants[key] = append(t.grants[key], g.Spec.To...)
		}
	}
}

// granted tells whether an object may refer to another. Within one namespace it
// always may.
func (t *translation) granted(group, kind, from, toGroup, toKind, to, name string) bool {
	if from == to {
		return true
	}
	for _, g := range t.grants[grantKey{group, kind, from, to}] {
		if string(g.Group) == toGroup && string(g.Kind) == toKind && (g.Name == nil || string(*g.Name) == name) {
			return true
		}
	}
	return false
}
