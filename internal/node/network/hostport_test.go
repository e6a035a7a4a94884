package network

import (
	"net"
	"testing"
	"time"
)

// A name server's clients send from one port for as long as they live.
func TestADatagramPortLeadsToTheNextPod(t *testing.T) {
	newMachine(t)
	world := newWorld(t)
	n := open(t, testConfig(t))
	start(t, n)
	port := Port{Protocol: "udp", HostPort: 5300, PodPort: 53}
	var client net.Conn
	must(t, in(world, func() (err error) {
		client, err = net.Dial("udp4", "192.0.2.2:5300")
		return err
	}))
	defer client.Close()
	for _, id := range []string{"a", "b"} {
		a := attach(t, n, id, port)
		echo(t, a.NetNS, id)
		// A datagram may be lost; the wrong pod's answer may not come.
		var got string
		var err error
		for tries := 0; tries < 10 && got == ""; tries++ {
			got, err = askDatagram(client)
		}
		if got != id {
			t.Errorf("pod %s has the port, %q answers: %v", id, got, err)
		}
		must(t, n.Detach(t.Context(), id))
	}
}

func askDatagram(c net.Conn) (string, error) {
	if _, err := c.Write([]byte("who?")); err != nil {
		return "", err
	}
	answer := make([]byte, 16)
	c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	size, err := c.Read(answer)
	return string(answer[:size]), err
}

// echo answers each datagram at port 53 of the namespace at path with who.
func echo(t *testing.T, path, who string) {
	t.Helper()
	var c net.PacketConn
	must(t, in(path, func() (err error) {
		c, err = net.ListenPacket("udp4", ":53")
		return err
	}))
	t.Cleanup(func() { c.Close() })
	go func() {
		question := make([]byte, 16)
		for {
			_, from, err := c.ReadFrom(question)
			if err != nil {
				return
			}
			c.WriteTo([]byte(who), from)
		}
	}()
}
