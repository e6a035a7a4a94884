package main

import (
	"bytes"
	"context"
	"net"
)

// answer is small, so that what is measured is the way there and back.
var answer = []byte("HTTP/1.1 200 OK\r\nServer: web\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nHello, world")

// backend answers until ctx ends. It knows of HTTP only where a request without
// a body ends, and costs the machine next to nothing.
func backend(ctx context.Context, addr string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		go answers(c)
	}
}

func answers(c net.Conn) {
	defer c.Close()
	buf, have := make([]byte, 4096), 0
	for {
		n, err := c.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		for {
			end := bytes.Index(buf[:have], []byte("\r\n\r\n"))
			if end < 0 {
				break
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
			have = copy(buf, buf[end+4:have])
		}
		if have == len(buf) {
			return // not one of our clients
		}
	}
}
