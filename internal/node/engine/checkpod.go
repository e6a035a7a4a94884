package engine

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// checkPod refuses what can be seen to be wrong before anything is made.
func (e *Engine) checkPod(cfg *PodConfig) error {
	switch {
	case cfg.Name == "":
		return fmt.Errorf("pod: metadata.name is empty: %w", fault.Invalid)
	case cfg.Net == ModeTarget || cfg.IPC == ModeTarget || cfg.IPC == ModeContainer:
		return fmt.Errorf("pod: namespace_options: mode not possible for a pod's network or IPC: %w", fault.Invalid)
	case cfg.PID == ModeTarget:
		return fmt.Errorf("pod: namespace_options.pid: a pod has no target: %w", fault.Invalid)
	case cfg.PID == ModePod && len(e.cfg.Pause) == 0:
		return fmt.Errorf("pod: namespace_options.pid: no pause program is configured: %w", fault.Precondition)
	case len(cfg.Hostname) > 64:
		return fmt.Errorf("pod: hostname %q is longer than 64 characters: %w", cfg.Hostname, fault.Invalid)
	case strings.ContainsFunc(cfg.Hostname, notPrinted) || strings.Contains(cfg.Hostname, "/"):
		return fmt.Errorf("pod: hostname %q has characters that no host name has: %w", cfg.Hostname, fault.Invalid)
	case cfg.LogDir != "" && !filepath.IsAbs(cfg.LogDir):
		return fmt.Errorf("pod: log_directory %q is not absolute: %w", cfg.LogDir, fault.Invalid)
	}
	if err := checkPath("log_directory", cfg.LogDir); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	if err := checkCgroupParent(cfg.CgroupParent); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	if err := e.checkHandler(cfg.Handler); err != nil {
		return err
	}
	if err := checkDNS(cfg.DNS); err != nil {
		return fmt.Errorf("pod: dns_config.%w", err)
	}
	for field, r := range map[string]*Resources{"resources": cfg.Resources, "overhead": cfg.Overhead} {
		if r == nil {
			continue
		}
		if err := e.checkResources(r); err != nil {
			return fmt.Errorf("pod: %s: %w", field, err)
		}
	}
	if err := e.checkSELinux(cfg.SELinux); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	if err := e.checkUser(cfg); err != nil {
		return err
	}
	if err := checkSysctls(cfg); err != nil {
		return err
	}
	for i, p := range cfg.Ports {
		if p.PodPort == 0 {
			return fmt.Errorf("pod: port_mappings[%d].container_port is 0: %w", i, fault.Invalid)
		}
	}
	return nil
}

func (e *Engine) checkHandler(name string) error {
	if name == "" {
		return nil
	}
	known := e.parts.Runtime.Handlers()
	if slices.Contains(known, name) {
		return nil
	}
	there := "none is configured or installed"
	if len(known) > 0 {
		there = "there are " + strings.Join(known, ", ")
	}
	return fmt.Errorf("pod: runtime_handler %q is unknown (%s; an empty one is the native runtime): %w", name, there, fault.Invalid)
}

// checkDNS refuses what would make another line of resolv.conf, or none that
// anybody can read.
func checkDNS(dns *DNS) error {
	if dns == nil {
		return nil
	}
	for i, s := range dns.Servers {
		if _, err := netip.ParseAddr(s); err != nil {
			return fmt.Errorf("servers[%d]: %w: %w", i, fault.Invalid, err)
		}
	}
	for field, list := range map[string][]string{"searches": dns.Searches, "options": dns.Options} {
		for i, s := range list {
			if s == "" || strings.ContainsFunc(s, notPrinted) {
				return fmt.Errorf("%s[%d]: %q is not one word: %w", field, i, s, fault.Invalid)
			}
		}
	}
	return nil
}

func notPrinted(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }
