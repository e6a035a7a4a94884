package server

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheAPIIsDialledUntilItAnswers(t *testing.T) {
	refused := errors.New("connection refused")
	for name, tt := range map[string]struct {
		opens time.Duration // when somebody listens
		gone  time.Duration // when whoever asked loses interest; zero is never
		want  error
		after time.Duration
	}{
		"at once where it listens":             {opens: 0, after: 0},
		"as soon as it has started again":      {opens: 3 * time.Second, after: 3 * time.Second},
		"no longer than the limit":             {opens: time.Hour, want: refused, after: 10 * time.Second},
		"no longer than anybody wants to know": {opens: time.Hour, gone: 2 * time.Second, want: refused, after: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.gone > 0 {
					time.AfterFunc(tt.gone, cancel)
				}
				began := time.Now()
				once := func(context.Context, string, string) (net.Conn, error) {
					if time.Since(began) < tt.opens {
						return nil, refused
					}
					conn, _ := net.Pipe()
					return conn, nil
				}
				conn, err := patient(once, 100*time.Millisecond, 10*time.Second)(ctx, "tcp", "192.0.2.1:6443")
				if took := time.Since(began); !errors.Is(err, tt.want) || (err == nil) != (conn != nil) || took != tt.after {
					t.Errorf("dialled for %v: %v, %v; want %v after %v", took, conn, err, tt.want, tt.after)
				}
			})
		})
	}
}
