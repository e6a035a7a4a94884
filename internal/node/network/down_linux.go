package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Down removes everything that this node has put into the machine's network:
// namespaces, links, bridge, table, and sysctls as they were. Run must have
// returned. It may be repeated.
func (n *Network) Down(ctx context.Context) error {
	n.Close()
	return Remove(ctx, n.cfg, n.log)
}

// Remove is Down for a Network that nobody has open, as after kill -9: it goes
// by the names in cfg and what is written down. It works in the network
// namespace of the calling thread.
func Remove(ctx context.Context, cfg Config, log *slog.Logger) error {
	if err := cfg.check(); err != nil {
		return err
	}
	home, err := openHome()
	if err != nil {
		return err
	}
	defer home.file.Close()
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer host.Close()
	var errs []error
	failed := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	failed(removeTable(cfg, home))
	failed(removeNamespaces(cfg))
	failed(removeLinks(ctx, host, cfg))
	failed(restoreHost(host, home, cfg, log))
	if len(errs) == 0 {
		// The records last: until all is gone they are how the rest is found.
		failed(os.RemoveAll(cfg.NSDir))
		if err := os.Remove(cfg.cursorFile()); err != nil && !os.IsNotExist(err) {
			failed(err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take the node's network down: %w", err)
	}
	log.Info("the node's network is down", "bridge", cfg.Bridge)
	return nil
}

// restoreHost puts the node-wide settings back.
func restoreHost(h *netlink.Handle, home home, cfg Config, log *slog.Logger) error {
	others, err := otherBridges(h, cfg)
	if err != nil {
		return err
	}
	return home.do(func() error {
		relying, err := restoreSysctls(cfg, others)
		if len(relying) > 0 {
			log.Warn("forwarding stays on: bridges made since may rely on it", "bridges", relying)
		}
		return err
	})
}

func removeTable(cfg Config, home home) error {
	c, err := nftables.New(nftables.WithNetNSFd(home.fd()))
	if err != nil {
		return fmt.Errorf("open nf_tables: %w", err)
	}
	tablesOf(cfg).remove(c)
	if err := c.Flush(); err != nil && fault.Of(kernelLacks(err, "nf_tables")) != fault.Unsupported {
		return fmt.Errorf("remove nftables table %s: %w", cfg.Table, err)
	}
	return nil
}

func removeNamespaces(cfg Config) error {
	paths, err := pins(cfg.NSDir)
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range paths {
		errs = append(errs, unpin(path))
	}
	return errors.Join(errs...)
}

// removeLinks deletes the bridge and its ports. The kernel removes the ports
// together with the namespaces just unpinned, many at a time, so it gets a
// moment to; what is left then is deleted one by one.
func removeLinks(ctx context.Context, h *netlink.Handle, cfg Config) error {
	bridge, err := findBridge(h, cfg)
	if errors.Is(err, fault.NotFound) || errors.Is(err, fault.Exists) {
		return nil // never made, or somebody else's
	}
	if err != nil {
		return err
	}
	var left []netlink.Link
	for end := time.Now().Add(patience); ; {
		if left, err = ports(h, bridge.Attrs().Index); err != nil {
			return err
		}
		if len(left) == 0 || time.Now().After(end) {
			break
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	shaping, err := shapers(h, cfg.Prefix)
	if err != nil {
		return err
	}
	for _, link := range shaping {
		left = append(left, link)
	}
	var errs []error
	for _, link := range append(left, bridge) {
		if err := h.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("remove link %s: %w", link.Attrs().Name, err))
		}
	}
	return errors.Join(errs...)
}
