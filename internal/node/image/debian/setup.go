package debian

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// skeleton makes what a root needs before any package: the merged /usr, and
// the directories that others are mounted on.
func (t *tree) skeleton() {
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		t.link(name, "usr/"+name)
		t.dir("usr/"+name, 0o755, 0, 0)
	}
	for name, mode := range map[string]int64{
		"dev": 0o755, "etc": 0o755, "home": 0o755, "proc": 0o755, "root": 0o700, "run": 0o755, "run/lock": 0o1777,
		"sys": 0o755, "tmp": 0o1777, "var/log": 0o755, "var/tmp": 0o1777, "var/cache": 0o755, "var/lib": 0o755,
	} {
		t.dir(name, mode, 0, 0)
	}
	t.link("var/run", "/run")
	t.link("var/lock", "/run/lock")
}

// setUp does what the packages' scripts would do.
func setUp(t *tree, got packages, scripts []script) error {
	users, err := readUsers(t)
	if err != nil {
		return err
	}
	for _, s := range scripts {
		for _, words := range s.commands() {
			users.command(t, words)
			alternative(t, words)
		}
	}
	for _, p := range got.installed {
		if known, ok := servers[p.Name]; ok {
			if err := known.prepare(t, users); err != nil {
				return fmt.Errorf("set up %s: %w", p.Name, err)
			}
		}
	}
	for _, step := range []func() error{
		func() error { return users.write(t) },
		func() error { return certificates(t) },
		func() error { return applets(t) },
		func() error { return t.text("etc/nsswitch.conf", nsswitch) },
		func() error { return t.text("var/lib/dpkg/status", status(got)) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if t.find("etc/os-release") == nil {
		t.link("etc/os-release", "../usr/lib/os-release")
	}
	for _, left := range []string{"boot", "usr/share/base-passwd"} {
		delete(t.nodes, left)
		for _, name := range t.names(left) {
			delete(t.nodes, name)
		}
	}
	return nil
}

// nsswitch is what libc asks, and in which order. Debian's names databases of
// machines with logins.
const nsswitch = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n"

// status is dpkg's database, so that scanners find out what is in the image.
func status(got packages) string {
	var b strings.Builder
	all := slices.Concat(got.installed, got.base)
	slices.SortFunc(all, func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
	for _, p := range all {
		first, rest, _ := strings.Cut(strings.TrimRight(p.control, "\n"), "\n")
		fmt.Fprintf(&b, "%s\nStatus: install ok installed\n%s\n\n", first, rest)
	}
	return b.String()
}

// certificates makes the one file of trusted authorities that most programs
// read, as update-ca-certificates does.
func certificates(t *tree) error {
	var all bytes.Buffer
	for _, name := range t.names("usr/share/ca-certificates") {
		if !strings.HasSuffix(name, ".crt") {
			continue
		}
		cert, err := t.read(name)
		if err != nil {
			return err
		}
		all.Write(bytes.TrimRight(cert, "\n"))
		all.WriteByte('\n')
	}
	if all.Len() == 0 {
		return nil
	}
	return t.text("etc/ssl/certs/ca-certificates.crt", all.String())
}

// applets links busybox's programs for what no package brings. The program
// itself says which it has, in a table of names; running it would need its
// processor.
func applets(t *tree) error {
	program, err := t.read("usr/bin/busybox")
	if err != nil || program == nil {
		return err
	}
	_, table, found := bytes.Cut(program, []byte("\x00[\x00[[\x00"))
	table, _, _ = bytes.Cut(table, []byte("\x00\x00"))
	names := append([]string{"[", "[["}, strings.Split(string(table), "\x00")...)
	if !found || len(names) > 1000 {
		names = []string{"sh"}
	}
	for _, name := range names {
		if name == "" || strings.ContainsAny(name, "/ ") || t.find("usr/sbin/"+name) != nil {
			continue
		}
		if at := "usr/bin/" + name; t.find(at) == nil {
			t.link(at, "busybox")
		}
	}
	return nil
}
