package debian

import (
	"archive/tar"
	"bytes"
	"strings"
)

// server is what a container needs to know of a package: how it runs in the
// foreground, where it listens, and what its scripts would have made.
type server struct {
	cmd   []string
	ports []string
	stop  string            // signal for a graceful stop; empty is SIGTERM
	links map[string]string // symbolic links and their targets
	files map[string]string // files and the packaged ones that they are copies of
	dirs  []owned
}

type owned struct {
	path, user string
	mode       int64
}

// servers are the packages that an image is most often made of. What writes a
// log file writes to the container's output instead.
var servers = map[string]server{
	"nginx": {
		cmd: []string{"nginx", "-g", "daemon off;"}, ports: []string{"80/tcp"}, stop: "SIGQUIT",
		links: map[string]string{
			"var/log/nginx/access.log":        "/dev/stdout",
			"var/log/nginx/error.log":         "/dev/stderr",
			"etc/nginx/sites-enabled/default": "/etc/nginx/sites-available/default",
		},
		files: map[string]string{"var/www/html/index.nginx-debian.html": "usr/share/nginx/html/index.html"},
	},
	"apache2": {
		cmd: []string{"apachectl", "-D", "FOREGROUND"}, ports: []string{"80/tcp"}, stop: "SIGWINCH",
		links: map[string]string{
			"var/log/apache2/access.log":                 "/dev/stdout",
			"var/log/apache2/error.log":                  "/dev/stderr",
			"var/log/apache2/other_vhosts_access.log":    "/dev/stdout",
			"etc/apache2/sites-enabled/000-default.conf": "../sites-available/000-default.conf",
			"etc/apache2/mods-enabled/mpm_event.load":    "../mods-available/mpm_event.load",
			"etc/apache2/mods-enabled/mpm_event.conf":    "../mods-available/mpm_event.conf",
			"etc/apache2/mods-enabled/authz_core.load":   "../mods-available/authz_core.load",
			"etc/apache2/mods-enabled/authz_host.load":   "../mods-available/authz_host.load",
			"etc/apache2/mods-enabled/dir.load":          "../mods-available/dir.load",
			"etc/apache2/mods-enabled/dir.conf":          "../mods-available/dir.conf",
			"etc/apache2/mods-enabled/mime.load":         "../mods-available/mime.load",
			"etc/apache2/mods-enabled/mime.conf":         "../mods-available/mime.conf",
			"etc/apache2/mods-enabled/alias.load":        "../mods-available/alias.load",
		},
		files: map[string]string{"var/www/html/index.html": "usr/share/apache2/default-site/index.html"},
		dirs:  []owned{{"run/apache2", "root", 0o755}, {"run/lock/apache2", "www-data", 0o755}},
	},
	"redis-server": {
		cmd:   []string{"redis-server", "--bind", "* -::*", "--protected-mode", "no", "--dir", "/var/lib/redis"},
		ports: []string{"6379/tcp"},
		dirs:  []owned{{"var/lib/redis", "redis", 0o750}, {"var/log/redis", "redis", 0o750}},
	},
	"memcached": {cmd: []string{"memcached", "-u", "nobody"}, ports: []string{"11211/tcp"}},
	"haproxy":   {cmd: []string{"haproxy", "-W", "-db", "-f", "/etc/haproxy/haproxy.cfg"}, stop: "SIGUSR1"},
	"python3":   {cmd: []string{"python3"}},
	"nodejs":    {cmd: []string{"node"}},
	"busybox":   {cmd: []string{"sh"}},
}

// serverOf finds the one that an image is for: the first package asked for that
// is known. Others get a shell.
func serverOf(asked []string) server {
	for _, p := range asked {
		name, _, _ := strings.Cut(p, "=")
		if known, ok := servers[name]; ok {
			return known
		}
	}
	return server{cmd: []string{"/bin/sh"}}
}

// prepare makes what the package's scripts would have made.
func (s server) prepare(t *tree, u *users) error {
	for name, target := range s.links {
		t.link(name, target)
	}
	for name, from := range s.files {
		data, err := t.read(from)
		if err != nil || data == nil {
			return err
		}
		err = t.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, bytes.NewReader(data))
		if err != nil {
			return err
		}
	}
	for _, d := range s.dirs {
		uid, gid, _ := u.id(d.user)
		t.dir(d.path, d.mode, uid, gid)
	}
	return nil
}
