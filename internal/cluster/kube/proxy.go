package kube

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"

	"github.com/spf13/pflag"
	"k8s.io/component-base/configz"
	proxyapp "k8s.io/kubernetes/cmd/kube-proxy/app"
	internal "k8s.io/kubernetes/pkg/proxy/apis/config"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// proxy is kube-proxy in nftables mode: Services become rules in the kernel.
type proxy struct {
	cfg Config
}

// Run returns as soon as ctx ends. Upstream's proxy has no end of its own: its
// informers and its sync loop go on until the process does.
func (p *proxy) Run(ctx context.Context, ready func()) error {
	if _, err := exec.LookPath("nft"); err != nil {
		return fmt.Errorf("the program nft is not installed (Debian: apt install nftables): %w", fault.Precondition)
	}
	configz.Delete(internal.GroupName)
	o := proxyapp.NewOptions()
	flags := pflag.NewFlagSet("kube-proxy", pflag.ContinueOnError)
	flags.SetOutput(io.Discard) // where it says that a flag is deprecated
	o.AddFlags(flags)
	// Its configuration is not exported, and a file cannot say that it should
	// open no ports: an empty address there means the default one.
	for name, value := range p.flags() {
		if err := flags.Set(name, value); err != nil {
			return fmt.Errorf("flag %s: %w", name, err)
		}
	}
	if err := o.Complete(flags); err != nil {
		return err
	}
	if err := writeFile(p.cfg.tablesMarker(), nil); err != nil {
		return err
	}
	// Not validated: upstream's check wants a metrics address, its server does not.
	// It looks for its node first, which the kubelet registers at the same time.
	ready()
	return untilDone(ctx, func() error { return o.Run(ctx) })
}

func (p *proxy) flags() map[string]string {
	f := map[string]string{
		"kubeconfig":         p.cfg.kubeconfig(idProxy),
		"kube-api-qps":       strconv.Itoa(clientQPS),
		"kube-api-burst":     strconv.Itoa(clientBurst),
		"proxy-mode":         string(internal.ProxyModeNFTables),
		"hostname-override":  p.cfg.NodeName,
		"detect-local-mode":  string(internal.LocalModeClusterCIDR),
		"cluster-cidr":       p.cfg.PodCIDR.String(),
		"config-sync-period": "1h",
		// No ports: the metrics are in the API server's /metrics, one process.
		"healthz-port": "0",
		"metrics-port": "0",
	}
	// kube-proxy ends when it may not change these. Its own defaults would also
	// resize the hash table of the whole machine for one node's pods.
	for _, name := range []string{"conntrack-max-per-core", "conntrack-min", "conntrack-tcp-timeout-established", "conntrack-tcp-timeout-close-wait"} {
		f[name] = "0"
	}
	return f
}

// untilDone runs f, which may not return when ctx ends.
func untilDone(ctx context.Context, f func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- protect(f) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}
