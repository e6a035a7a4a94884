package cert

import (
	"crypto/x509"
	"testing"
)

func TestWhatANameAsksOfClients(t *testing.T) {
	a, _ := authority(t)
	b, _ := authority(t)
	byA := &ClientRule{Roots: []*x509.Certificate{a.cert}}
	byB := &ClientRule{Roots: []*x509.Certificate{b.cert}}
	any := &ClientRule{Optional: true, Roots: byA.Roots}
	c := NewClients([]ClientName{
		{443, "", "a.test", byA}, {443, "", "open.test", nil}, {443, "", "*.wild.test", byA}, {443, "", "open.wild.test", nil},
		{443, "", "one.test", byA}, {443, "", "one.test", nil},
		{443, "", "any.test", any}, {443, "", "strict.test", any}, {443, "", "strict.test", byA},
		{443, "", "two.test", byA}, {443, "", "two.test", byB},
		{8443, "x.test", "x.test", nil},
	})
	for name, tt := range map[string]struct {
		port int
		host string
		want string
	}{
		"its own name":                               {443, "A.test.", byA.ID()},
		"a name that asks nothing":                   {443, "open.test", ""},
		"a name that is not served":                  {443, "gone.test", ""},
		"a name under a wildcard":                    {443, "x.wild.test", byA.ID()},
		"a name under a wildcard, with its own rule": {443, "open.wild.test", ""},
		"one of two listeners asks":                  {443, "one.test", byA.ID()},
		"any certificate":                            {443, "any.test", "optional"},
		"the stricter of two":                        {443, "strict.test", byA.ID()},
		"two authorities":                            {443, "two.test", "nobody"},
		"another port":                               {8443, "a.test", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.Find(tt.port, tt.host).ID(); got != tt.want {
				t.Errorf("Find(%d, %s) = %s; want %s", tt.port, tt.host, got, tt.want)
			}
		})
	}
	chain := [][]*x509.Certificate{{b.cert, a.cert}}
	if !byA.Meets(chain) || byB.Meets(chain) || byA.Meets(nil) || !any.Meets(nil) || (&ClientRule{}).Meets(chain) || !(*ClientRule)(nil).Meets(nil) {
		t.Error("a connection meets a rule that it must not, or does not meet one that it does")
	}
}
