// Command caddy is stock Caddy with its own reverse proxy, in the version that
// Sampan's gateway is built with: what the gateway adds and saves is all that
// differs.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

func main() { caddycmd.Main() }
