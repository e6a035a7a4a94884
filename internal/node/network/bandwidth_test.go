package network

import (
	"io"
	"net"
	"testing"
	"time"
)

func TestBandwidthIsLimited(t *testing.T) {
	newMachine(t)
	n := open(t, testConfig(t))
	const limit = 8e6 // a megabyte a second
	a, err := n.Attach(t.Context(), Pod{ID: "a", Ingress: limit, Egress: limit})
	must(t, err)
	b := attach(t, n, "b")
	for name, tt := range map[string]struct {
		from, to Attachment
		limited  bool
	}{
		"what the pod sends":    {a, b, true},
		"what the pod receives": {b, a, true},
	} {
		t.Run(name, func(t *testing.T) {
			const size = 512 << 10 // less would fit into the bucket
			var l net.Listener
			must(t, in(tt.to.NetNS, func() (err error) { l, err = net.Listen("tcp4", ":9"); return err }))
			defer l.Close()
			began := time.Now()
			go in(tt.from.NetNS, func() error {
				c, err := net.Dial("tcp4", tt.to.Addr.Addr().String()+":9")
				if err == nil {
					c.Write(make([]byte, size))
					c.Close()
				}
				return err
			})
			c, err := l.Accept()
			must(t, err)
			got, err := io.Copy(io.Discard, c)
			must(t, err)
			if took := time.Since(began); got != size || took < 250*time.Millisecond || took > 10*time.Second {
				t.Errorf("%d bytes took %s at %g bits a second", got, took, float64(limit))
			}
		})
	}
}
