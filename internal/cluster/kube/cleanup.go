package kube

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/knftables"
)

// Cleanup takes back what a cluster that no longer runs has left on the machine:
// volumes that the kubelet mounted, the pods' cgroups, the service proxy's
// tables and the kernel's settings. It leaves the cluster's data alone and may be repeated. Containers
// must have ended: a cgroup with a process in it stays, and is reported.
func Cleanup(cfg Config) error {
	cfg, err := cfg.complete()
	if err != nil {
		return err
	}
	return errors.Join(
		unmountAll(cfg.KubeletDir),
		removeCgroup(cfg.cgroupDir()),
		removeTables(context.Background(), cfg.tablesMarker()),
		restoreSysctls(procSys, cfg.sysctlsFile()),
	)
}

func unmountAll(dir string) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close()
	var mounts []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		// The directory itself too: the kubelet mounts it on itself to share
		// mounts with containers.
		if len(fields) > 4 && (fields[4] == dir || strings.HasPrefix(fields[4], dir+"/")) {
			mounts = append(mounts, fields[4])
		}
	}
	var errs []error
	slices.Reverse(mounts) // what was mounted last is on top
	for _, m := range mounts {
		if err := unix.Unmount(m, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m, err))
		}
	}
	return errors.Join(errs...)
}

// tablesMarker is there when this cluster's kube-proxy has run.
func (c Config) tablesMarker() string { return filepath.Join(c.RunDir, "kube-proxy") }

func (c Config) sysctlsFile() string { return filepath.Join(c.RunDir, "sysctls.json") }

// removeTables removes kube-proxy's tables. Upstream has fixed their name, so
// they may be another cluster's when ours has never run here.
func removeTables(ctx context.Context, marker string) error {
	if _, err := os.Stat(marker); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, family := range []knftables.Family{knftables.IPv4Family, knftables.IPv6Family} {
		nft, err := knftables.New(family, "kube-proxy")
		if err != nil {
			return nil // no nft here, so it made no tables either
		}
		tx := nft.NewTransaction()
		tx.Add(&knftables.Table{}) // deleting what is not there fails
		tx.Delete(&knftables.Table{})
		if err := nft.Run(ctx, tx); err != nil {
			return fmt.Errorf("nft tables of kube-proxy: %w", err)
		}
	}
	return os.Remove(marker)
}
