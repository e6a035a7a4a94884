package network

import (
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestDownLeavesNothing(t *testing.T) {
	for name, kill := range map[string]bool{"when asked": false, "when everything was killed": true} {
		t.Run(name, func(t *testing.T) {
			newMachine(t)
			cfg := testConfig(t)
			before := footprint(t, cfg.NSDir)
			n, err := Open(cfg, quiet())
			must(t, err)
			stop := start(t, n)
			for i := range 5 {
				_, err := n.Attach(t.Context(), Pod{ID: fmt.Sprint(i), Ingress: 1e6, Egress: 1e6,
					Ports: []Port{{Protocol: "udp", HostPort: uint16(8000 + i), PodPort: 80}}})
				must(t, err)
			}
			must(t, n.Detach(t.Context(), "0"))
			if footprint(t, cfg.NSDir) == before {
				t.Fatal("the footprint does not show a node that is up")
			}
			stop()
			if kill {
				must(t, Remove(t.Context(), cfg, quiet()))
			} else {
				must(t, n.Down(t.Context()))
			}
			if after := footprint(t, cfg.NSDir); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
			must(t, Remove(t.Context(), cfg, quiet()))
		})
	}
}

// Docker and its like turn forwarding on when they start, unless it is.
func TestDownLeavesForwardingToThoseWhoCameLater(t *testing.T) {
	bridge := func(t *testing.T, name string) {
		must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}))
	}
	for name, tt := range map[string]struct {
		before, after string
		want          string
	}{
		"nobody came":                {"", "", "0"},
		"somebody was there already": {"virbr0", "", "0"},
		"somebody came later":        {"virbr0", "docker0", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			newMachine(t)
			if tt.before != "" {
				bridge(t, tt.before)
			}
			n, err := Open(testConfig(t), quiet())
			must(t, err)
			if tt.after != "" {
				bridge(t, tt.after)
			}
			must(t, n.Down(t.Context()))
			if got, err := readSysctl("net/ipv4/ip_forward"); err != nil || got != tt.want {
				t.Errorf("net.ipv4.ip_forward = %s, %v; want %s", got, err, tt.want)
			}
		})
	}
}
