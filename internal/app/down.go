package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/api/config"
	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/base/runfs"
	"github.com/sampan-cloud/sampan/internal/cluster/kube"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/network"
)

// Down takes away everything that a node's daemon has put on the machine and
// that outlives it on purpose: containers and their keeper, mounts, namespaces,
// links, cgroups, tables. It goes by what is written down and by names, so it
// works after everything was killed, and may be repeated. With purge the data
// goes too. programs is the directory of the keeper, which is asked to end what
// it keeps; where it was killed, a new one takes over first.
func Down(ctx context.Context, f config.File, programs string, purge bool, log *slog.Logger) error {
	lock, err := lockDataDir(f)
	if err != nil {
		return err
	}
	defer lock.Close()
	set, err := newSettings(f, programs)
	if err != nil {
		return err
	}
	var errs []error
	step := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	groups, err := cgroup.New(set.cgroups())
	if err != nil {
		return err
	}
	scopes, err := set.openScopes(groups)
	if err != nil && fault.Of(err) != fault.Precondition { // where systemd is not, it has nothing of ours
		return err
	}
	// Containers first: whoever still runs holds mounts, links and cgroups.
	step("containers", container.Down(ctx, set.settled(set.containers(groups), scopes), log))
	if scopes != nil {
		step("slice", errors.Join(scopes.RemoveSlice(ctx, set.cgroupRoot()), scopes.Close()))
	}
	step("network", network.Remove(ctx, set.network(), log))
	step("kubernetes", kube.Cleanup(set.kube()))
	step("registry", set.distrust())
	step("logs", forgetLogs(f.DataDir))
	step("mounts", unmountBelow(f.RunDir, f.DataDir))
	if len(errs) == 0 {
		step("run directory", errors.Join(runfs.Drop(f.RunDir), os.RemoveAll(f.RunDir)))
		if purge {
			step("data directory", removeData(f.DataDir))
		}
	}
	return errors.Join(errs...)
}

// removeData deletes the data directory. One that is a mount of the machine's, a
// disk of its own, stays and is empty.
func removeData(dir string) error {
	err := os.RemoveAll(dir)
	if left, readErr := os.ReadDir(dir); errors.Is(err, unix.EBUSY) && readErr == nil && len(left) == 0 {
		return nil
	}
	return err
}

// logLinks is where the kubelet links to each container's log, for those who
// collect logs. It is the same directory for every kubelet on the machine.
const logLinks = "/var/log/containers"

// forgetLogs takes away the links to logs below dataDir, and the directory where
// none is left. The kubelet itself removes only those of containers that it ends.
func forgetLogs(dataDir string) error {
	links, err := filepath.Glob(filepath.Join(logLinks, "*.log"))
	errs := []error{err}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, dataDir+"/") {
			continue // gone meanwhile, or another's
		}
		if err := os.Remove(link); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	_ = os.Remove(logLinks) // fails while another's are there
	return errors.Join(errs...)
}
