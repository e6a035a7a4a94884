package server

import (
	"context"
	"net"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// restConfig says how the API is reached.
func restConfig(kubeconfig string) (*rest.Config, error) {
	load := rest.InClusterConfig
	if kubeconfig != "" {
		load = func() (*rest.Config, error) { return clientcmd.BuildConfigFromFlags("", kubeconfig) }
	}
	conf, err := load()
	if err != nil {
		return nil, err
	}
	// Conditions of five thousand routes are five thousand requests.
	conf.QPS, conf.Burst = 200, 400
	conf.Dial = patient(new(net.Dialer).DialContext, 100*time.Millisecond, 10*time.Second)
	return conf, nil
}

type dial = func(ctx context.Context, network, addr string) (net.Conn, error)

// patient dials again until somebody answers or limit has passed.
//
// A watch that is refused comes back after a time that doubles, each kind of
// object at its own. While the API starts again, which takes three seconds,
// they would drift seconds apart: a route then leads to a Service that is not
// known yet, or to copies that have gone. So all come back at the same moment.
func patient(once dial, pause, limit time.Duration) dial {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		for {
			conn, err := once(ctx, network, addr)
			if err == nil {
				return conn, nil
			}
			select {
			case <-ctx.Done():
				return nil, err
			case <-time.After(pause):
			}
		}
	}
}
