package watch

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway"
)

func TestWhatOthersSayOfARouteStays(t *testing.T) {
	const other = "example.org/other"
	long, now := metav1.NewTime(time.Unix(1000, 0)), metav1.NewTime(time.Unix(2000, 0))
	says := func(by gw.GatewayController, parent, status string, since metav1.Time) gw.RouteParentStatus {
		return gw.RouteParentStatus{
			ControllerName: by, ParentRef: gw.ParentReference{Name: gw.ObjectName(parent)},
			Conditions: []metav1.Condition{{Type: "Accepted", Status: metav1.ConditionStatus(status), LastTransitionTime: since}},
		}
	}
	for name, tt := range map[string]struct {
		have, want, left []gw.RouteParentStatus
		changed          bool
	}{
		"the first word": {
			have: []gw.RouteParentStatus{says(other, "a", "True", long)},
			want: []gw.RouteParentStatus{says(gateway.Controller, "a", "True", now)},
			left: []gw.RouteParentStatus{says(other, "a", "True", long), says(gateway.Controller, "a", "True", now)}, changed: true,
		},
		"the same again is no change, and as old as before": {
			have: []gw.RouteParentStatus{says(other, "a", "False", long), says(gateway.Controller, "a", "True", long)},
			want: []gw.RouteParentStatus{says(gateway.Controller, "a", "True", now)},
			left: []gw.RouteParentStatus{says(other, "a", "False", long), says(gateway.Controller, "a", "True", long)},
		},
		"another status is new": {
			have: []gw.RouteParentStatus{says(gateway.Controller, "a", "True", long)},
			want: []gw.RouteParentStatus{says(gateway.Controller, "a", "False", now)},
			left: []gw.RouteParentStatus{says(gateway.Controller, "a", "False", now)}, changed: true,
		},
		"a parent that is left is forgotten": {
			have: []gw.RouteParentStatus{says(other, "a", "True", long), says(gateway.Controller, "b", "True", long)},
			left: []gw.RouteParentStatus{says(other, "a", "True", long)}, changed: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := gw.RouteStatus{Parents: tt.have}
			if changed := mergeParents(&s, tt.want); changed != tt.changed {
				t.Errorf("changed = %t, want %t", changed, tt.changed)
			}
			if len(s.Parents) != len(tt.left) {
				t.Fatalf("%d parents, want %d", len(s.Parents), len(tt.left))
			}
			for i, p := range s.Parents {
				w := tt.left[i]
				got, want := p.Conditions[0], w.Conditions[0]
				if p.ControllerName != w.ControllerName || p.ParentRef.Name != w.ParentRef.Name || got.Status != want.Status ||
					(got.LastTransitionTime == long) != (want.LastTransitionTime == long) {
					t.Errorf("parent %d: %+v, want %+v", i, p, w)
				}
			}
		})
	}
}
