package cgroup

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// A rule opens or closes devices. Of several rules for one device the last
// counts, for each kind of access by itself.
type rule struct {
	allow        bool
	kind         byte // 'a' any, 'b', 'c'
	major, minor int64
	access       string // of "rwm"
}

// anyNumber stands for every major or minor number.
const anyNumber = -1

// all tells whether the rule is about every device and access: those before it
// have no effect.
func (r rule) all() bool {
	return r.kind == 'a' && r.major == anyNumber && r.minor == anyNumber && r.access == "rwm"
}

func (r rule) String() string {
	number := func(n int64) string {
		if n == anyNumber {
			return "*"
		}
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%c %s:%s %s", r.kind, number(r.major), number(r.minor), r.access)
}

// defaultDevices are what every container may use, as with runc: making any
// device node, and the devices that its /dev has.
var defaultDevices = [...]rule{
	{true, 'c', anyNumber, anyNumber, "m"},
	{true, 'b', anyNumber, anyNumber, "m"},
	{true, 'c', 1, 3, "rwm"},           // null
	{true, 'c', 1, 8, "rwm"},           // random
	{true, 'c', 1, 7, "rwm"},           // full
	{true, 'c', 5, 0, "rwm"},           // tty
	{true, 'c', 1, 5, "rwm"},           // zero
	{true, 'c', 1, 9, "rwm"},           // urandom
	{true, 'c', 136, anyNumber, "rwm"}, // pts
	{true, 'c', 5, 2, "rwm"},           // ptmx
}

// parseDevices checks the rules of a specification and drops those that a later
// one makes void.
func parseDevices(in []specs.LinuxDeviceCgroup) ([]rule, error) {
	var rules []rule
	for i, d := range in {
		r := rule{allow: d.Allow, kind: 'a', major: anyNumber, minor: anyNumber, access: "rwm"}
		switch d.Type {
		case "", "a":
		case "b", "c":
			r.kind = d.Type[0]
		case "u":
			r.kind = 'c'
		default:
			return nil, fmt.Errorf("devices[%d].type: unknown type %q: %w", i, d.Type, fault.Invalid)
		}
		for _, n := range []struct {
			field string
			from  *int64
			to    *int64
		}{{"major", d.Major, &r.major}, {"minor", d.Minor, &r.minor}} {
			if n.from == nil {
				continue
			}
			if *n.from < anyNumber || *n.from > 1<<32-1 {
				return nil, fmt.Errorf("devices[%d].%s: %d: %w", i, n.field, *n.from, fault.Invalid)
			}
			*n.to = *n.from
		}
		if d.Access != "" {
			if strings.Trim(d.Access, "rwm") != "" {
				return nil, fmt.Errorf("devices[%d].access: %q has other letters than r, w and m: %w", i, d.Access, fault.Invalid)
			}
			r.access = ""
			for _, letter := range "rwm" {
				if strings.ContainsRune(d.Access, letter) {
					r.access += string(letter)
				}
			}
		}
		if r.all() {
			rules = rules[:0]
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// applyDevices puts rules in force. Without rules nothing but the defaults is
// open.
func (g *Group) applyDevices(rules []rule, created bool) error {
	if len(rules) == 0 || !rules[0].all() {
		// Devices are closed unless opened.
		rules = append([]rule{{false, 'a', anyNumber, anyNumber, "rwm"}}, rules...)
	}
	if rules[0].allow && len(rules) == 1 && created {
		return nil // as a new group is
	}
	if !rules[0].allow {
		rules = append(rules[:len(rules):len(rules)], defaultDevices[:]...)
	}
	if g.m.version == V2 {
		if err := g.m.devices(g.dir(g.m.primary()), rules); err != nil {
			return fmt.Errorf("devices: %w", err)
		}
		return nil
	}
	return writeDevicesV1(g.dir(g.m.find("devices")), rules)
}

// writeDevicesV1 writes each rule to devices.allow or devices.deny, which take
// one at a write.
func writeDevicesV1(dir string, rules []rule) (err error) {
	var fds [2]int
	for i, file := range []string{"devices.deny", "devices.allow"} {
		if fds[i], err = open(filepath.Join(dir, file), unix.O_WRONLY); err != nil {
			return fmt.Errorf("devices: open %s: %w", filepath.Join(dir, file), err)
		}
		defer unix.Close(fds[i])
	}
	for _, r := range rules {
		text, fd := r.String(), fds[0]
		if r.allow {
			fd = fds[1]
		}
		if r.all() {
			text = "a"
		} else if r.kind == 'a' {
			// For any type the kernel takes only rules about everything.
			for _, kind := range "bc" {
				r.kind = byte(kind)
				if err := writeFd(fd, r.String()); err != nil {
					return fmt.Errorf("devices: rule %q: %w", r, err)
				}
			}
			continue
		}
		if err := writeFd(fd, text); err != nil {
			if errors.Is(err, unix.EPERM) && r.allow {
				return fmt.Errorf("devices: rule %q opens more than the parent group may: %w", r, fault.Forbidden)
			}
			return fmt.Errorf("devices: rule %q: %w", r, err)
		}
	}
	return nil
}
