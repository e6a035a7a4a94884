package debian

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// run runs apt-get and returns its output.
func (a *apt) run(ctx context.Context, args ...string) ([]byte, error) {
	return a.command(ctx, "apt-get", nil, args...)
}

// config is how apt is configured, a setting a line.
func (a *apt) config(ctx context.Context) ([]byte, error) {
	return a.command(ctx, "apt-config", nil, "dump")
}

// fetches is a line of apt's about something that it gets, or tries to:
// Get:3 http://mirror.example.org bookworm/main amd64 busybox amd64 1:1.35.0 [452 kB]
var fetches = regexp.MustCompile(`^(?:Get|Hit|Ign|Err):\d+ (\S+(?: \S+){0,3})`)

// watch is run for what takes time: it tells what apt is getting.
func (a *apt) watch(ctx context.Context, step string, total int, args ...string) ([]byte, error) {
	done := 0
	return a.command(ctx, "apt-get", func(line string) {
		m := fetches.FindStringSubmatch(line)
		if m == nil {
			return
		}
		if total > 0 {
			done = min(done+1, total)
		}
		a.progress(Progress{Step: step, Package: m[1], Done: done, Total: total})
	}, args...)
}

// command runs one of apt's programs. heard, when set, is told each line of its
// output as it comes.
func (a *apt) command(ctx context.Context, program string, heard func(line string), args ...string) ([]byte, error) {
	state := filepath.Join(a.cache, "state")
	lists := "/var/lib/apt/lists"
	if a.own {
		lists = filepath.Join(a.cache, "lists")
		if err := os.MkdirAll(filepath.Join(lists, "partial"), 0o755); err != nil {
			return nil, err
		}
	}
	for _, dir := range []string{state, filepath.Join(a.archives(), "partial")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	status := filepath.Join(state, "status")
	if err := os.WriteFile(status, []byte(a.installed()), 0o644); err != nil {
		return nil, err
	}
	settings := []string{
		"Dir::State=" + state, "Dir::State::status=" + status, "Dir::State::lists=" + lists,
		"Dir::Cache=" + a.cache, "Dir::Cache::archives=" + a.archives(),
		// Images of Debian switch these off; reading the lists anew takes a second.
		"Dir::Cache::pkgcache=pkgcache.bin", "Dir::Cache::srcpkgcache=srcpkgcache.bin",
		"Dir::Log=" + state,
		"Debug::NoLocking=true",   // nothing of the machine's is written
		"APT::Sandbox::User=root", // whose directory the cache is
		"APT::Install-Recommends=false", "APT::Install-Suggests=false",
		"APT::Get::Assume-Yes=true", "Acquire::Retries=3",
		"Acquire::http::Timeout=20", "Acquire::https::Timeout=20",
	}
	if a.sources != "" {
		settings = append(settings, "Dir::Etc::sourcelist="+a.sources, "Dir::Etc::sourceparts=/dev/null")
	}
	var line []string
	for _, s := range settings {
		line = append(line, "-o", s)
	}
	if program == "apt-get" {
		line = append(line, "--quiet")
	}
	cmd := exec.CommandContext(ctx, program, append(line, args...)...)
	cmd.Dir = a.archives() // where download puts things
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	out, said := output{heard: heard}, bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, explain(said.String()+out.all.String(), err)
	}
	return out.all.Bytes(), nil
}

// output keeps what a program writes, and tells each line of it.
type output struct {
	all   bytes.Buffer
	told  int // bytes of all
	heard func(line string)
}

// Write is called with whatever has come, not line by line.
func (o *output) Write(p []byte) (int, error) {
	o.all.Write(p)
	for o.heard != nil {
		rest := o.all.Bytes()[o.told:]
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			break
		}
		o.heard(string(rest[:end]))
		o.told += end + 1
	}
	return len(p), nil
}
