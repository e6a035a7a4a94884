package kube

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/configz"
	app "k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// kubelet makes pods of what the API server says, through the engine's CRI
// socket.
type kubelet struct {
	cfg Config
	log *slog.Logger
}

// Run returns as soon as ctx ends. Upstream's kubelet stops its loops then, but
// keeps its listener: it cannot be started twice in one process.
func (k *kubelet) Run(ctx context.Context, ready func()) error {
	if err := k.prepareHost(); err != nil {
		return err
	}
	server, err := k.options()
	if err != nil {
		return err
	}
	if err := options.ValidateKubeletServer(server); err != nil {
		return err
	}
	configz.Delete("kubeletconfig")
	deps, err := app.UnsecuredDependencies(ctx, server, utilfeature.DefaultFeatureGate)
	if err != nil {
		return err
	}
	ready()
	return untilDone(ctx, func() error { return app.Run(ctx, server, deps, utilfeature.DefaultFeatureGate) })
}

func (k *kubelet) options() (*options.KubeletServer, error) {
	cfg := k.cfg
	o, err := options.NewKubeletServer()
	if err != nil {
		return nil, err
	}
	o.KubeConfig = cfg.kubeconfig(idKubelet)
	o.HostnameOverride = cfg.NodeName
	o.NodeIP = cfg.NodeIP.String()
	o.RootDirectory = cfg.KubeletDir
	o.CertDirectory = filepath.Join(cfg.KubeletDir, "pki")
	o.NodeLabels = cfg.NodeLabels

	o.Address = cfg.NodeIP.String()
	o.Port = int32(cfg.KubeletPort)
	o.ReadOnlyPort, o.HealthzPort = 0, 0
	o.TLSCertFile = cfg.pair(certKubeletServer).cert
	o.TLSPrivateKeyFile = cfg.pair(certKubeletServer).key
	o.Authentication.X509.ClientCAFile = cfg.pair("ca").cert
	o.Authentication.Anonymous.Enabled = false
	o.Authentication.Webhook.Enabled = true
	o.Authorization.Mode = kubeletconfig.KubeletAuthorizationModeWebhook
	o.RotateCertificates = false // its files are renewed for it

	o.StaticPodPath = "" // pods come from the API server only
	o.PodLogsDir = cfg.PodLogsDir
	o.VolumePluginDir = filepath.Join(cfg.KubeletDir, "volume-plugins")
	o.ContainerRuntimeEndpoint = "unix://" + cfg.CRISocket
	o.ClusterDomain = cfg.ClusterDomain
	o.ClusterDNS = []string{cfg.ClusterDNS.String()}
	o.ResolverConfig = cfg.ResolvConf

	o.MaxPods = int32(cfg.MaxPods)
	o.KubeAPIQPS, o.KubeAPIBurst = clientQPS, clientBurst
	o.EventRecordQPS, o.EventBurst = 500, 1000
	o.RegistryPullQPS = 0 // no limit
	o.SerializeImagePulls = false
	o.ContentType = protobuf
	o.NodeStatusUpdateFrequency = metav1.Duration{Duration: 10 * time.Second}
	o.NodeStatusReportFrequency = metav1.Duration{Duration: 5 * time.Minute}

	o.CgroupDriver = "cgroupfs"
	if cfg.SystemdCgroups {
		o.CgroupDriver = "systemd"
	}
	o.CgroupRoot = cfg.CgroupRoot
	o.CgroupsPerQOS = true
	o.FailCgroupV1 = false
	o.FailSwapOn = false
	o.MakeIPTablesUtilChains = false // kube-proxy runs on nftables
	o.MaxOpenFiles = openFilesLimit()
	o.EvictionHard = map[string]string{
		"memory.available":   "100Mi",
		"nodefs.available":   "5%",
		"nodefs.inodesFree":  "3%",
		"imagefs.available":  "5%",
		"imagefs.inodesFree": "3%",
	}
	// Collect images well before the limit at which pods are evicted.
	o.ImageGCHighThresholdPercent, o.ImageGCLowThresholdPercent = 90, 85
	return o, nil
}

// prepareHost makes what the kubelet expects to find.
func (k *kubelet) prepareHost() error {
	for _, dir := range []string{k.cfg.KubeletDir, k.cfg.PodLogsDir} {
		// Containers run as other users and reach their volumes through these.
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := checkSysctls(); err != nil {
		return err
	}
	if err := checkWatchers(watchers); err != nil {
		return err
	}
	if err := saveSysctls(procSys, k.cfg.sysctlsFile()); err != nil {
		return err
	}
	// With systemd too: it does not manage every hierarchy of version 1.
	if err := makeCgroup(k.cfg.cgroupDir()); err != nil {
		return fmt.Errorf("cgroup %s: %w", k.cfg.cgroupDir(), err)
	}
	if err := k.checkPort(); err != nil {
		return err
	}
	return k.prepareKernelLog()
}

// checkPort looks whether the kubelet will get its port: upstream ends the whole
// process when it does not.
func (k *kubelet) checkPort() error {
	l, err := net.Listen("tcp", net.JoinHostPort(k.cfg.NodeIP.String(), strconv.Itoa(k.cfg.KubeletPort)))
	if err != nil {
		return fmt.Errorf("%w: %w", err, fault.Precondition)
	}
	return l.Close()
}

// prepareKernelLog sees to /dev/kmsg, where the kubelet looks for processes
// that ran out of memory and without which it does not start. In a container
// that has none an empty one does: the engine reports such kills itself.
func (k *kubelet) prepareKernelLog() error {
	const path = "/dev/kmsg"
	f, err := os.Open(path)
	if err == nil {
		return f.Close()
	}
	if !os.IsNotExist(err) {
		return fmt.Errorf("kernel log: %w: allow it with CAP_SYSLOG or kernel.dmesg_restrict=0: %w", err, fault.Precondition)
	}
	k.log.Warn("no kernel log here, kills for lack of memory are seen by the engine only", "err", err)
	if err := os.Symlink("/dev/null", path); err != nil && !os.IsExist(err) {
		return fmt.Errorf("kernel log: %w", err)
	}
	return nil
}

// openFilesLimit returns the most this process may have without the right to
// raise its own limit.
func openFilesLimit() int64 {
	const wanted = 1_000_000 // upstream's default
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return wanted
	}
	return int64(min(limit.Max, wanted))
}
