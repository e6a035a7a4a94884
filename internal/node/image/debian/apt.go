package debian

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// apt is the machine's apt on a state of our own below cache.
type apt struct {
	cache    string
	sources  string
	progress func(Progress)
	own      bool     // use package lists of our own, not the machine's
	asked    []string // what the image is for

	dial       func(ctx context.Context, network, addr string) (net.Conn, error)
	reachLimit time.Duration
}

// newApt uses a cache with the machine's sources, or those of a file.
func newApt(cache, sources string, progress func(Progress)) *apt {
	return &apt{cache: cache, sources: sources, progress: progress, dial: (&net.Dialer{}).DialContext, reachLimit: reachLimit}
}

// packages is what a build stands on, each sorted by name.
type packages struct {
	installed []Package // asked for, and what these depend on
	base      []Package // taken for their files only
}

// base is what every Debian root has; their own dependencies serve maintainer
// scripts only.
var base = []string{"base-files", "base-passwd"}

// administration are packages that others depend on for their maintainer scripts
// only. They count as installed: no script runs here, and through them every
// server would bring perl along.
var administration = []string{
	"adduser", "debconf", "debconf-2.0", "dpkg", "init-system-helpers", "lsb-base", "runit-helper",
	"sysvinit-utils", "ucf", "usr-is-merged", "usrmerge",
}

// installed is the state that apt starts from.
func (a *apt) installed() string {
	var b strings.Builder
	for _, name := range administration {
		if !slices.ContainsFunc(a.asked, func(p string) bool { return p == name || strings.HasPrefix(p, name+"=") }) {
			fmt.Fprintf(&b, "Package: %s\nStatus: install ok installed\nVersion: 9999\nArchitecture: all\nMulti-Arch: foreign\n"+
				"Maintainer: nobody\nDescription: not needed in a container\n\n", name)
		}
	}
	return b.String()
}

// get resolves and downloads packages. The machine's package lists may be
// missing, or so old that the archive has moved on: then it gets fresh ones.
func (a *apt) get(ctx context.Context, names []string) (packages, error) {
	for _, tool := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return packages{}, fmt.Errorf("%s is not installed: building from packages needs Debian or Ubuntu: %w", tool, fault.Unsupported)
		}
	}
	lists, err := filepath.Glob("/var/lib/apt/lists/*_Packages*")
	if err != nil {
		return packages{}, err
	}
	a.own = a.sources != "" || len(lists) == 0
	if a.own {
		if err := a.update(ctx); err != nil {
			return packages{}, err
		}
	}
	got, err := a.fetch(ctx, names)
	var away *unreachable
	if err == nil || a.own || ctx.Err() != nil || fault.Of(err) == fault.Exhausted || errors.As(err, &away) {
		return got, err
	}
	a.own = true
	if updating := a.update(ctx); updating != nil {
		return got, errors.Join(err, updating)
	}
	return a.fetch(ctx, names)
}

func (a *apt) update(ctx context.Context) error {
	if err := a.reach(ctx); err != nil {
		return err
	}
	a.progress(Progress{Step: "update"})
	_, err := a.watch(ctx, "update", 0, "update", "-o", "APT::Update::Error-Mode=any")
	return err
}

func (a *apt) fetch(ctx context.Context, names []string) (got packages, err error) {
	a.progress(Progress{Step: "resolve"})
	a.asked = names
	plan, err := a.run(ctx, append([]string{"--simulate", "install", "--"}, names...)...)
	if err != nil {
		return got, err
	}
	basePlan, err := a.run(ctx, append([]string{"--simulate", "install", "--"}, base...)...)
	if err != nil {
		return got, err
	}
	files := planned(plan)
	baseFiles := slices.DeleteFunc(planned(basePlan), func(file string) bool {
		name, _, _ := strings.Cut(file, "_")
		// One that is a dependency too is installed, and that is that.
		return !slices.Contains(base, name) || slices.Contains(files, file)
	})
	local, err := a.download(ctx, names, slices.Concat(files, baseFiles))
	if err != nil {
		return got, err
	}
	if got.installed, err = a.describe(ctx, files, local); err != nil {
		return got, err
	}
	got.base, err = a.describe(ctx, baseFiles, local)
	return got, err
}

// download brings the files of names and of base into the cache, unless all of
// them are there. local tells where those are that apt leaves in place, because
// their source is a directory.
func (a *apt) download(ctx context.Context, names, files []string) (local map[string]string, err error) {
	missing := func(file string) bool {
		_, err := os.Stat(filepath.Join(a.archives(), file))
		return err != nil
	}
	if !slices.ContainsFunc(files, missing) {
		return nil, nil
	}
	if err := a.reach(ctx); err != nil {
		return nil, err
	}
	a.progress(Progress{Step: "download", Total: len(files)})
	for _, args := range [][]string{
		slices.Concat([]string{"--download-only", "install", "--"}, names),
		slices.Concat([]string{"download", "--"}, base),
	} {
		if _, err := a.watch(ctx, "download", len(files), args...); err != nil {
			return nil, err
		}
	}
	if !slices.ContainsFunc(files, missing) {
		return nil, nil
	}
	out, err := a.run(ctx, slices.Concat([]string{"--print-uris", "install", "--"}, names, base)...)
	return listed(out), err
}

func (a *apt) archives() string { return filepath.Join(a.cache, "archives") }

var (
	unknown = regexp.MustCompile(`(?m)^E: (?:Unable to locate package (\S+)|Package '(\S+)' has no installation candidate|Can't find a source to download version .* of '(\S+)'|Version '\S+' for '(\S+)' was not found)`)
	unmet   = regexp.MustCompile(`(?s)The following packages have unmet dependencies:\n(.*?)(?:\nE:|\z)`)
)

// explain makes an error of what apt said.
func explain(said string, err error) error {
	var missing []string
	for _, m := range unknown.FindAllStringSubmatch(said, -1) {
		missing = append(missing, strings.Join(m[1:], ""))
	}
	switch {
	case len(missing) > 0:
		return fmt.Errorf("package %s: no such package or version in the package lists: %w", strings.Join(missing, ", "), fault.NotFound)
	case unmet.MatchString(said):
		text := strings.Join(strings.Fields(unmet.FindStringSubmatch(said)[1]), " ")
		return fmt.Errorf("the packages do not go together: %s: %w", text, fault.Precondition)
	case strings.Contains(said, "No space left on device") || strings.Contains(said, "don't have enough free space"):
		return fmt.Errorf("download packages: the disk is full: %w", fault.Exhausted)
	}
	var why []string
	for line := range strings.Lines(said) {
		if rest, ok := strings.CutPrefix(line, "E: "); ok {
			why = append(why, strings.TrimSpace(rest))
		}
	}
	kind := fault.Internal
	if strings.Contains(said, "Failed to fetch") || strings.Contains(said, "Temporary failure") {
		kind = fault.Unavailable
	}
	return fmt.Errorf("apt-get: %s (%w): %w", strings.Join(why, "; "), err, kind)
}

// installs is a line of a simulated installation:
// Inst libc6 (2.36-9+deb12u14 Debian:12.15/oldstable [amd64])
var installs = regexp.MustCompile(`^Inst (\S+) \((\S+) .*\[(\w+)\]\)`)

// planned returns the file names of the packages that a simulation installs.
func planned(out []byte) (files []string) {
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if m := installs.FindStringSubmatch(lines.Text()); m != nil {
			name, _, _ := strings.Cut(m[1], ":")
			files = append(files, name+"_"+strings.ReplaceAll(m[2], ":", "%3a")+"_"+m[3]+".deb")
		}
	}
	return files
}

// listed returns the packages of a --print-uris, 'http://…' NAME SIZE HASH, and
// their URIs.
func listed(out []byte) map[string]string {
	uris := make(map[string]string)
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) > 1 && strings.HasPrefix(f[0], "'") {
			uris[f[1]] = strings.Trim(f[0], "'")
		}
	}
	return uris
}

// describe reads what packages say of themselves. uris tell where those are
// that apt did not have to download.
func (a *apt) describe(ctx context.Context, files []string, uris map[string]string) ([]Package, error) {
	var all []Package
	for _, name := range files {
		file := filepath.Join(a.archives(), name)
		if local, ok := strings.CutPrefix(uris[name], "file:"); ok {
			file = local
		}
		out, err := dpkg(ctx, "--field", file)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		p := Package{file: file, control: string(out)}
		p.Name, p.Version, p.Arch = field(p.control, "Package"), field(p.control, "Version"), field(p.control, "Architecture")
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Package) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// field returns one line of a control paragraph.
func field(control, name string) string {
	for line := range strings.Lines(control) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
