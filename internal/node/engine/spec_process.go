package engine

import (
	"context"
	"fmt"
	"math"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine/internal/users"
)

// defaultPath is what a program finds others by when the image does not say.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// process decides what runs, where and with which environment.
func (b *builder) process(context.Context) error {
	cfg, img, p := &b.rec.Config, &b.img.Config.Config, b.spec.Process
	// A command of the request's own also replaces the image's arguments: they
	// were meant for the image's entrypoint.
	entry, args := cfg.Command, cfg.Args
	if len(entry) == 0 {
		entry = img.Entrypoint
		if len(args) == 0 {
			args = img.Cmd
		}
	}
	p.Args = append(append([]string{}, entry...), args...)
	if len(p.Args) == 0 {
		return fmt.Errorf("command: neither the request nor image %s has one: %w", cfg.Image, fault.Invalid)
	}
	if p.Args[0] == "" {
		return fmt.Errorf("command[0] is empty: %w", fault.Invalid)
	}
	for i, a := range p.Args {
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("command[%d] contains a zero byte: %w", i, fault.Invalid)
		}
	}
	p.Cwd = "/"
	for _, dir := range []string{img.WorkingDir, cfg.Dir} {
		if dir != "" {
			p.Cwd = path.Join("/", dir)
		}
	}
	return b.environment()
}

func (b *builder) environment() error {
	cfg := &b.rec.Config
	env := newEnvironment(defaultPath)
	if name := b.hostname(); name != "" {
		env.set("HOSTNAME=" + name)
	}
	if cfg.TTY {
		env.set("TERM=xterm")
	}
	for _, kv := range b.img.Config.Config.Env {
		env.set(kv)
	}
	for i, kv := range cfg.Env {
		name, _, ok := strings.Cut(kv, "=")
		if !ok || name == "" || strings.ContainsRune(kv, 0) {
			return fmt.Errorf("envs[%d]: %q is not NAME=value: %w", i, name, fault.Invalid)
		}
		env.set(kv)
	}
	b.spec.Process.Env = env.list
	return nil
}

func (b *builder) hostname() string {
	if b.pod.Config.Hostname != "" || !b.pod.HostNetwork() {
		return b.pod.Config.Hostname
	}
	name, _ := os.Hostname() // without one there is no variable
	return name
}

// environment is a list of NAME=value in which a later value takes the place of
// an earlier one.
type environment struct {
	list []string
	at   map[string]int
}

func newEnvironment(first ...string) *environment {
	e := &environment{at: map[string]int{}}
	for _, kv := range first {
		e.set(kv)
	}
	return e
}

func (e *environment) set(kv string) {
	name, _, _ := strings.Cut(kv, "=")
	if i, ok := e.at[name]; ok {
		e.list[i] = kv
		return
	}
	e.at[name] = len(e.list)
	e.list = append(e.list, kv)
}

// user decides whom the process runs as. Names are those of the image.
func (b *builder) user(context.Context) error {
	s := &b.rec.Config.Security
	who, field := b.img.Config.Config.User, "the image's user"
	switch {
	case s.UID != nil:
		if err := checkID("security_context.run_as_user", *s.UID); err != nil {
			return err
		}
		who, field = strconv.FormatInt(*s.UID, 10), "security_context.run_as_user"
	case s.Username != "":
		who, field = s.Username, "security_context.run_as_username"
	}
	if s.GID != nil {
		if err := checkID("security_context.run_as_group", *s.GID); err != nil {
			return err
		}
		who, _, _ = strings.Cut(who, ":")
		who += ":" + strconv.FormatInt(*s.GID, 10)
	}
	u, err := users.Find(b.image(), who)
	if err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	groups := []uint32{u.GID}
	if !s.StrictGroups {
		groups = appendNew(groups, u.Groups...)
	}
	if len(s.Groups) > maxGroups {
		return fmt.Errorf("security_context.supplemental_groups: %d are more than the kernel's %d: %w", len(s.Groups), maxGroups, fault.Invalid)
	}
	for i, g := range s.Groups {
		if err := checkID(fmt.Sprintf("security_context.supplemental_groups[%d]", i), g); err != nil {
			return err
		}
		groups = appendNew(groups, uint32(g))
	}
	b.spec.Process.User = specs.User{UID: u.UID, GID: u.GID, AdditionalGids: groups}
	if err := b.checkMapped(b.spec.Process.User); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	b.rec.User = b.spec.Process.User
	b.setHome(u.Home)
	return nil
}

// setHome gives HOME to a program whose image and request do not: shells and
// many tools fail without it.
func (b *builder) setHome(home string) {
	for _, kv := range b.spec.Process.Env {
		if strings.HasPrefix(kv, "HOME=") {
			return
		}
	}
	if home == "" {
		home = "/"
	}
	b.spec.Process.Env = append(b.spec.Process.Env, "HOME="+home)
}

// maxGroups is how many the kernel lets a process be in.
const maxGroups = 65536

func checkID(field string, id int64) error {
	// The largest value means "none" to the kernel.
	if id < 0 || id >= math.MaxUint32 {
		return fmt.Errorf("%s: %d is not between 0 and %d: %w", field, id, uint32(math.MaxUint32-1), fault.Invalid)
	}
	return nil
}

// appendNew appends the values that list does not have.
func appendNew[T comparable](list []T, values ...T) []T {
next:
	for _, v := range values {
		for _, have := range list {
			if have == v {
				continue next
			}
		}
		list = append(list, v)
	}
	return list
}
