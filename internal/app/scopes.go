package app

import (
	"context"
	"fmt"
	"strings"

	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/container/scope"
)

// cgroupRoot is the cgroup that all of this cloud's are in. With the systemd
// driver it stands for a slice.
func (s settings) cgroupRoot() string { return "/" + s.Instance() }

// openScopes connects to systemd where that is to know of pods' cgroups; nil where
// it is not.
func (s settings) openScopes(groups *cgroup.Manager) (*scope.Manager, error) {
	if !s.Engine.Systemd() {
		return nil, nil
	}
	m, err := scope.Open(groups)
	if err != nil {
		return nil, fmt.Errorf("engine.cgroupDriver: systemd: %w", err)
	}
	return m, nil
}

// settled has the keeper live in a scope of its own.
func (s settings) settled(c container.Config, m *scope.Manager) container.Config {
	if m == nil {
		return c
	}
	c.KeeperCgroup = ""
	c.Settle = func(ctx context.Context, pid int) error {
		return m.Move(ctx, s.cgroupRoot(), strings.TrimPrefix(s.Instance()+"-keeper", "sampan-"), pid)
	}
	return c
}
