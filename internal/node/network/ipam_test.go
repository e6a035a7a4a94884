package network

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func TestIPAM(t *testing.T) {
	addr := netip.MustParseAddr
	for name, tt := range map[string]struct {
		last netip.Addr
		used []string
		want []string
	}{
		"begins after the gateway":                      {netip.Addr{}, nil, []string{"10.0.0.2", "10.0.0.3", "10.0.0.4"}},
		"goes on where it was before a restart":         {addr("10.0.0.4"), nil, []string{"10.0.0.5", "10.0.0.6", "10.0.0.2"}},
		"starts over when it was in another range":      {addr("10.9.0.4"), nil, []string{"10.0.0.2"}},
		"leaves out what is in use":                     {netip.Addr{}, []string{"10.0.0.2", "10.0.0.4"}, []string{"10.0.0.3", "10.0.0.5"}},
		"leaves out the gateway and the broadcast ones": {addr("10.0.0.6"), []string{"10.0.0.1", "10.0.0.0"}, []string{"10.0.0.2"}},
		"is not bothered by addresses of another range": {netip.Addr{}, []string{"10.9.0.2", "10.9.0.3"}, []string{"10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newIPAM(netip.MustParsePrefix("10.0.0.0/29"), tt.last)
			for _, u := range tt.used {
				p.keep(addr(u))
			}
			for i, want := range tt.want {
				if got, err := p.take(); err != nil || got != addr(want) {
					t.Fatalf("take %d = %v, %v; want %s", i, got, err, want)
				}
			}
		})
	}
}

func TestAnExhaustedRangeSaysSo(t *testing.T) {
	p := newIPAM(netip.MustParsePrefix("10.0.0.0/29"), netip.Addr{})
	var last netip.Addr
	for range p.size() {
		a, err := p.take()
		must(t, err)
		last = a
	}
	if _, err := p.take(); !errors.Is(err, fault.Exhausted) {
		t.Errorf("take from a range in use = %v, want %v", err, fault.Exhausted)
	}
	p.free(last)
	if got, err := p.take(); err != nil || got != last {
		t.Errorf("take after free(%s) = %s, %v", last, got, err)
	}
}

func TestAPortTellsItsAddress(t *testing.T) {
	want := netip.MustParseAddr("10.42.255.3")
	if got, ok := portAddr(linkOf(want)); !ok || got != want {
		t.Errorf("portAddr(%s) = %s, %v", linkOf(want), got, ok)
	}
	for _, other := range []string{"eth0", "spam", "sp0a2aff0z", "veth12345678"} {
		if got, ok := portAddr(other); ok {
			t.Errorf("portAddr(%s) = %s, want none", other, got)
		}
	}
}
