package kube

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcd keeps every object. It listens on unix sockets only, in a directory that
// nobody but root can enter, so it needs neither ports nor certificates.
type etcd struct {
	cfg Config
	log *slog.Logger
}

func (e *etcd) Run(ctx context.Context, ready func()) error {
	server, err := embed.StartEtcd(e.config())
	if err != nil {
		return fmt.Errorf("open %s: %w", e.cfg.path("etcd"), err)
	}
	defer server.Close()
	select {
	case <-server.Server.ReadyNotify():
		ready()
	case <-ctx.Done():
		return nil
	case err := <-server.Err():
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-server.Err():
		return err
	case <-server.Server.StopNotify():
		return errEnded
	}
}

func (e *etcd) config() *embed.Config {
	c := embed.NewConfig()
	c.Name = "sampan"
	c.Dir = e.cfg.path("etcd")
	c.ListenClientUrls = []url.URL{socketURL(e.cfg.socket("etcd"))}
	c.ListenPeerUrls = []url.URL{socketURL(e.cfg.socket("etcd-peer"))}
	// These are written into the database and never dialled by a lone member.
	self := url.URL{Scheme: "http", Host: "localhost:2380"}
	c.AdvertiseClientUrls, c.AdvertisePeerUrls = []url.URL{self}, []url.URL{self}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.EnableGRPCGateway = false
	// The API server compacts; it alone knows which revisions are still asked for.
	c.AutoCompactionMode, c.AutoCompactionRetention = "periodic", "0"
	// 8 GiB is etcd's own recommended limit; at its default of 2 a cluster with
	// many events stops accepting writes.
	c.QuotaBackendBytes = 8 << 30
	c.BootstrapDefragThresholdMegabytes = 256 // given back to the disk at a start
	c.SnapshotCount = 10000
	c.MaxRequestBytes = 3 << 20
	c.PreVote = true
	c.WarningUnaryRequestDuration = 300 * time.Millisecond
	c.WarningApplyDuration = 300 * time.Millisecond
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapToSlog(e.log.With("component", "etcd")))
	// A socket that a killed process left behind would be in the way.
	for _, name := range []string{"etcd", "etcd-peer"} {
		os.Remove(e.cfg.socket(name))
	}
	return c
}

func socketURL(path string) url.URL { return url.URL{Scheme: "unix", Path: path} }

// etcdTimeout is how long the API server lets etcd take to answer its health
// checks: a busy disk is no reason to restart.
const etcdTimeout = 10 * time.Second
