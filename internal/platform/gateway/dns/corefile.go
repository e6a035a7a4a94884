package dns

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"text/template"
)

// corefile is the whole configuration of CoreDNS: one server, whose plugins
// CoreDNS calls in its own fixed order.
//
// The cluster's own names are not cached: they are in memory already, and a
// cached one would outlive its pod. Neither are addresses asked back, of which
// any may be an instance's in a moment. Other names are, and for a day stale
// answers are given when the resolvers have none within a second: what asks
// gives up after five. Errors that repeat are written once in half a minute.
var corefile = template.Must(template.New("Corefile").Parse(`.:{{.Port}} {
	{{- if .Bind}}
	bind{{range .Bind}} {{.}}{{end}}
	{{- end}}
	errors {
		consolidate 30s ".*"
	}
	health {{.Health}} {
		lameduck {{.Drain}}
	}
	ready {{.Ready}}
	prometheus {{.Metrics}}
	kubernetes {{.Domain}} in-addr.arpa ip6.arpa {
		{{- if .Kubeconfig}}
		kubeconfig "{{.Kubeconfig}}"
		{{- end}}
		pods {{.Pods}}
		fallthrough in-addr.arpa ip6.arpa
		ttl 30
	}
	{{- if .Upstreams}}
	forward .{{range .Upstreams}} {{.}}{{end}} {
		max_concurrent 1000
	}
	{{- end}}
	cache 30 {
		disable success {{.Domain}} in-addr.arpa ip6.arpa
		disable denial {{.Domain}} in-addr.arpa ip6.arpa
		serve_stale 24h verify 1s
	}
	loadbalance
}
`))

// Corefile returns c as CoreDNS reads it. Without any upstream, names outside
// the cluster fail at once instead of after a wait.
func (c Config) Corefile() (string, error) {
	if err := c.Check(); err != nil {
		return "", err
	}
	if len(c.Upstreams) == 0 {
		found, err := resolvers(c.ResolvConf)
		if err != nil {
			return "", err
		}
		c.Upstreams = found
	}
	var b strings.Builder
	if err := corefile.Execute(&b, c); err != nil {
		return "", fmt.Errorf("write Corefile: %w", err)
	}
	return b.String(), nil
}

// maxUpstreams is how many forward takes.
const maxUpstreams = 15

// resolvers reads the name servers of a resolv.conf. Loopback means somebody
// else in a pod, and ourselves on a node: asking it would go round in circles.
func resolvers(path string) ([]string, error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the node's resolvers: %w", err)
	}
	defer f.Close()
	var found []string
	lines := bufio.NewScanner(f)
	for lines.Scan() && len(found) < maxUpstreams {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(fields[1])
		// A link-local address with its zone is a file that forward would open.
		if err != nil || addr.Zone() != "" || addr.IsLoopback() || addr.IsUnspecified() {
			continue
		}
		found = append(found, addr.String())
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the node's resolvers: %w", err)
	}
	return found, nil
}

// upstream checks an address with or without a port.
func upstream(s string) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return netip.AddrPortFrom(addr, 53), nil
	}
	return netip.ParseAddrPort(s)
}
