package translate

import (
	"reflect"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

func TestAnnotationsAskForRetries(t *testing.T) {
	for name, tt := range map[string]struct {
		asked   map[string]string
		want    *route.Retry
		refusal string // names the annotation that is wrong
	}{
		"how often":              {map[string]string{annRetries: "3"}, &route.Retry{Attempts: 3, Codes: []int{502, 503, 504}, Backoff: retryBackoff}, ""},
		"and of what":            {map[string]string{annRetries: "1", annRetryOn: "500, 429"}, &route.Retry{Attempts: 1, Codes: []int{500, 429}, Backoff: retryBackoff}, ""},
		"not a number":           {map[string]string{annRetries: "many"}, nil, annRetries},
		"none":                   {map[string]string{annRetries: "0"}, nil, annRetries},
		"too many":               {map[string]string{annRetries: "11"}, nil, annRetries},
		"a good answer":          {map[string]string{annRetries: "1", annRetryOn: "503,200"}, nil, annRetryOn},
		"a status without times": {map[string]string{annRetryOn: "503"}, nil, annRetryOn},
	} {
		t.Run(name, func(t *testing.T) {
			o := cluster(t)
			tr := &translation{Objects: o, set: set()}
			in := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: tt.asked}}
			var found problems
			e := tr.annotations(in.Namespace, in.Annotations, &found)
			if tt.refusal != "" {
				if found.invalid.ok() || !strings.HasPrefix(found.invalid.message, "annotation "+tt.refusal+": ") {
					t.Errorf("refused with %q; want that it names %s", found.invalid.message, tt.refusal)
				}
				return
			}
			var rule route.Rule
			e.apply(&rule)
			if !reflect.DeepEqual(rule.Retry, tt.want) || rule.Plain() {
				t.Errorf("retry = %+v, plain %v; want %+v on a rule that is not plain", rule.Retry, rule.Plain(), tt.want)
			}
		})
	}
}
