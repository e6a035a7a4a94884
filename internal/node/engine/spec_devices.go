package engine

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container/devices"
)

// devices adds the devices asked for, all of the host's when privileged, and
// the rules that let the cgroup use those and no others.
func (b *builder) devices(context.Context) error {
	cfg := &b.rec.Config
	res := b.linuxResources()
	if cfg.Security.Privileged {
		all, err := devices.All()
		if err != nil {
			return err
		}
		b.addDevices(all)
		// One rule for all, in place of one for each.
		res.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
		return nil
	}
	res.Devices = append([]specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}, usualDevices()...)
	for i, d := range cfg.Devices {
		found, err := devices.Host(d.Source, d.Target, d.Permissions)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("host_path %s holds no device", d.Source)
		}
		if err != nil {
			// Whatever its kind: that the device is not there does not mean that
			// the pod or its image is not.
			return fmt.Errorf("devices[%d]: %w: %w", i, fault.Invalid, err)
		}
		b.addDevices(found)
	}
	return nil
}

// addDevices makes nodes of devices, or in a user namespace, where a node of
// one's own cannot be opened, shows the host's.
func (b *builder) addDevices(list []devices.Device) {
	if b.pod.Config.User == nil {
		devices.Add(b.spec, list...)
		return
	}
	res := b.linuxResources()
	for _, d := range list {
		b.bind(d.Source, d.Path, "bind", "rprivate", "rw")
		res.Devices = append(res.Devices, d.Rule())
	}
}

// usualDevices are those of every container: null, zero, full, tty, random,
// urandom, ptmx and the terminals of its own devpts; nodes of any other may be
// made, not opened.
func usualDevices() []specs.LinuxDeviceCgroup {
	number := func(n int64) *int64 { return &n }
	rules := []specs.LinuxDeviceCgroup{{Allow: true, Type: "c", Access: "m"}, {Allow: true, Type: "b", Access: "m"}}
	for _, d := range [][2]int64{{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 1}, {5, 2}} {
		rules = append(rules, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: number(d[0]), Minor: number(d[1]), Access: "rwm"})
	}
	return append(rules, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: number(136), Access: "rwm"})
}

// cdiAnnotation is the older way to ask for a CDI device.
const cdiAnnotation = "cdi.k8s.io/"

// injectDevices lets CDI specifications change what was built: they may add
// devices, mounts, variables and hooks.
func (b *builder) injectDevices() error {
	names := slices.Clone(b.rec.Config.CDI)
	for key, value := range b.rec.Config.Annotations {
		if strings.HasPrefix(key, cdiAnnotation) {
			names = appendNew(names, strings.Split(value, ",")...)
		}
	}
	if len(names) == 0 {
		return nil
	}
	if err := b.engine.cdi.Inject(b.spec, names...); err != nil {
		return fmt.Errorf("CDI_devices: %w: %w", fault.Invalid, err)
	}
	return nil
}

// linuxResources returns the resources of the description, which it makes.
func (b *builder) linuxResources() *specs.LinuxResources {
	if b.spec.Linux.Resources == nil {
		b.spec.Linux.Resources = &specs.LinuxResources{}
	}
	return b.spec.Linux.Resources
}

// exists tells whether a path of the host is there.
func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
