package server

import (
	"encoding/json"
	"net"
	"strconv"

	"github.com/caddyserver/caddy/v2"

	"github.com/sampan-cloud/sampan/internal/platform/gateway"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/translate"
)

// object is a part of Caddy's configuration, which is JSON.
type object = map[string]any

// caddyConfig is the whole of Caddy's configuration: ports, each with our
// handler as its only route. Routes are not in it, so a change of routes is none
// of it; only a Gateway with another port is.
func caddyConfig(id uint64, cfg gateway.Config, ports ports) *caddy.Config {
	servers := object{}
	policies := tlsPolicies(id, ports.clients)
	for _, b := range ports.binds {
		servers["port-"+strconv.Itoa(b.Port)] = serverOf(id, cfg, b, policies)
	}
	return &caddy.Config{
		// Without persist=false Caddy writes the configuration into a home directory.
		Admin:      &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: new(bool)}},
		StorageRaw: encode(object{"module": "file_system", "root": cfg.DataDir}),
		Logging:    &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "WARN"}, Exclude: []string{"admin"}}}},
		AppsRaw: caddy.ModuleMap{
			"http": encode(object{
				"http_port": cfg.HTTPPort, "https_port": cfg.HTTPSPort,
				"grace_period": cfg.Drain, "servers": servers,
			}),
			"tls":    encode(tlsOf(id)),
			"sampan": encode(object{"id": id, "policies": policies}),
		},
	}
}

func serverOf(id uint64, cfg gateway.Config, b translate.Bind, policies []object) object {
	s := object{
		"listen":              []string{net.JoinHostPort("", strconv.Itoa(b.Port))},
		"routes":              []object{{"handle": []object{{"handler": "sampan", "id": id, "port": b.Port}}}},
		"automatic_https":     object{"disable": true},
		"protocols":           []string{"h1", "h2", "h2c"},
		"read_header_timeout": "30s",
		"idle_timeout":        "5m",
		"max_header_bytes":    64 << 10,
	}
	if b.TLS {
		s["tls_connection_policies"] = policies
		// We know better which names share a listener than that none may.
		s["strict_sni_host"] = false
		s["protocols"] = []string{"h1", "h2", "h3"}
		if b.NoQUIC {
			s["protocols"] = []string{"h1", "h2"}
		}
	}
	plain := !b.TLS && len(cfg.ProxyProtocol) == 0
	wrappers := []object{{"wrapper": "sampan", "id": id, "port": b.Port, "plain": plain}}
	if len(cfg.ProxyProtocol) > 0 {
		wrappers = append(wrappers, object{"wrapper": "proxy_protocol", "timeout": "5s", "allow": cfg.ProxyProtocol, "fallback_policy": "skip"})
	}
	if b.TLS {
		wrappers = append(wrappers, object{"wrapper": "sampan_names", "id": id, "port": b.Port})
		wrappers = append(wrappers, object{"wrapper": "tls"}) // after the others, which look at what comes before it
	}
	s["listener_wrappers"] = wrappers
	return s
}

// tlsOf asks our module for every certificate. Caddy has none of its own to keep
// in order.
func tlsOf(id uint64) object {
	return object{
		"automation":            object{"policies": []object{{"get_certificate": []object{{"via": "sampan", "id": id}}}}},
		"disable_storage_clean": true,
	}
}

// encode cannot fail: what is encoded here are maps of strings and numbers.
func encode(v any) json.RawMessage {
	b, _ := json.Marshal(v)
	return b
}
