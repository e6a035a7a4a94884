package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/admission"
	genericapiserver "k8s.io/apiserver/pkg/server"
	genericopts "k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	apiapp "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiopts "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	controlplane "k8s.io/kubernetes/pkg/controlplane/apiserver"
	authzmodes "k8s.io/kubernetes/pkg/kubeapiserver/authorizer/modes"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// apiServer is kube-apiserver with the resource metrics API built in.
type apiServer struct {
	cfg Config
}

func (a *apiServer) Run(ctx context.Context, ready func()) error {
	l, err := listen(ctx, a.cfg.BindAddresses, a.cfg.Port)
	if err != nil {
		return fmt.Errorf("%w: %w", err, fault.Precondition)
	}
	defer l.Close()
	options, err := a.options(l)
	if err != nil {
		return err
	}
	// What this server starts ends with it, also when it fails halfway.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	completed, err := options.Complete(ctx)
	if err != nil {
		return err
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return fmt.Errorf("options: %w", utilerrors.NewAggregate(errs))
	}
	server, err := buildServer(completed, a.cfg)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := a.waitReady(ctx); err == nil {
			ready()
		}
	}()
	err = server.Run(ctx)
	cancel()
	<-done
	return err
}

// buildServer does what upstream's Run does, with more API groups in the middle
// of the chain.
func buildServer(options apiopts.CompletedOptions, cfg Config) (runner, error) {
	config, err := apiapp.NewConfig(options)
	if err != nil {
		return nil, err
	}
	generic := config.KubeAPIs.ControlPlane.Generic
	describeMetrics(generic)
	metrics, err := newMetricsAPI(cfg, generic.LoopbackClientConfig)
	if err != nil {
		return nil, err
	}
	completed, err := config.Complete()
	if err != nil {
		return nil, err
	}
	extensions, err := completed.ApiExtensions.New(genericapiserver.NewEmptyDelegate())
	if err != nil {
		return nil, err
	}
	kube, err := completed.KubeAPIs.New(extensions.GenericAPIServer)
	if err != nil {
		return nil, err
	}
	if err := metrics.install(kube.ControlPlane.GenericAPIServer); err != nil {
		return nil, fmt.Errorf("metrics API: %w", err)
	}
	for prefix, handler := range cfg.APIs {
		kube.ControlPlane.GenericAPIServer.Handler.NonGoRestfulMux.UnlistedHandlePrefix(prefix, handler)
	}
	if err := describe(kube.ControlPlane.GenericAPIServer, cfg.Described); err != nil {
		return nil, err
	}
	aggregator, err := controlplane.CreateAggregatorServer(completed.Aggregator, kube.ControlPlane.GenericAPIServer,
		extensions.Informers.Apiextensions().V1().CustomResourceDefinitions(), true, groupPriorities())
	if err != nil {
		return nil, err
	}
	return aggregator.PrepareRun()
}

type runner interface {
	Run(ctx context.Context) error
}

func (a *apiServer) options(l *listener) (*apiopts.ServerRunOptions, error) {
	cfg := a.cfg
	o := apiopts.NewServerRunOptions()

	o.GenericServerRunOptions.AdvertiseAddress = cfg.NodeIP.AsSlice()
	o.GenericServerRunOptions.ExternalHost = cfg.NodeIP.String()
	// A stopping server would else wait a minute for watches to end by themselves.
	o.GenericServerRunOptions.ShutdownWatchTerminationGracePeriod = time.Second
	o.SecureServing.Listener = l
	o.SecureServing.BindAddress = cfg.BindAddresses[0].AsSlice()
	o.SecureServing.BindPort = cfg.Port
	o.SecureServing.ExternalAddress = cfg.NodeIP.AsSlice()
	o.SecureServing.ServerCert.CertKey = certKey(cfg.pair(certAPIServer))

	o.Etcd.StorageConfig.Transport.ServerList = []string{"unix://" + cfg.socket("etcd")}
	o.Etcd.StorageConfig.HealthcheckTimeout = etcdTimeout
	o.Etcd.StorageConfig.ReadycheckTimeout = etcdTimeout
	o.Etcd.EncryptionProviderConfigFilepath = cfg.encryption()

	o.Audit.PolicyFile = cfg.auditPolicy()
	o.Audit.LogOptions.Path = cfg.path("audit", "audit.log")
	o.Audit.LogOptions.MaxSize = 50 // MB
	o.Audit.LogOptions.MaxBackups = 5
	o.Audit.LogOptions.MaxAge = 30 // days
	o.Audit.LogOptions.Compress = true
	o.Audit.LogOptions.BatchOptions.Mode = genericopts.ModeBatch

	o.Authentication.ClientCert.ClientCA = cfg.pair("ca").cert
	o.Authentication.AuthenticationConfigFile = cfg.authentication()
	o.Authentication.RequestHeader.ClientCAFile = cfg.pair("front-proxy-ca").cert
	o.Authentication.RequestHeader.AllowedNames = []string{"front-proxy-client"}
	o.Authentication.RequestHeader.UsernameHeaders = []string{"X-Remote-User"}
	o.Authentication.RequestHeader.GroupHeaders = []string{"X-Remote-Group"}
	o.Authentication.RequestHeader.ExtraHeaderPrefixes = []string{"X-Remote-Extra-"}
	o.Authentication.ServiceAccounts.Issuers = []string{cfg.issuer()}
	o.Authentication.ServiceAccounts.KeyFiles = []string{cfg.tokenKey().cert}
	o.Authentication.BootstrapToken.Enable = true
	o.ServiceAccountSigningKeyFile = cfg.tokenKey().key
	o.ProxyClientCertFile = cfg.pair(certFrontProxy).cert
	o.ProxyClientKeyFile = cfg.pair(certFrontProxy).key

	o.Authorization.Modes = []string{authzmodes.ModeNode, authzmodes.ModeRBAC}
	o.Admission.GenericAdmission.EnablePlugins = []string{"NodeRestriction"}
	a.admit(o.Admission.GenericAdmission)
	o.AllowPrivileged = true
	o.Features.EnableProfiling = false

	o.ServiceClusterIPRanges = cfg.ServiceCIDR.String()
	ports, err := utilnet.ParsePortRange(cfg.NodePorts)
	if err != nil {
		return nil, fmt.Errorf("node ports %q: %w: %w", cfg.NodePorts, err, fault.Invalid)
	}
	o.ServiceNodePortRange = *ports
	// The service proxy is on this node, but webhooks and aggregated APIs are
	// reached sooner when their endpoints are dialled directly.
	o.EnableAggregatorRouting = true

	// Node names are not in anybody's DNS.
	o.KubeletConfig.PreferredAddressTypes = []string{"InternalIP", "ExternalIP", "Hostname"}
	o.KubeletConfig.TLSClientConfig.CertFile = cfg.pair(certKubeletClient).cert
	o.KubeletConfig.TLSClientConfig.KeyFile = cfg.pair(certKubeletClient).key
	o.KubeletConfig.TLSClientConfig.CAFile = cfg.pair("ca").cert
	return o, nil
}

// admit adds the steps of others behind Kubernetes' own.
func (a *apiServer) admit(o *genericopts.AdmissionOptions) {
	for _, name := range slices.Sorted(maps.Keys(a.cfg.Admission)) {
		o.Plugins.Register(name, func(io.Reader) (admission.Interface, error) { return a.cfg.Admission[name], nil })
		o.RecommendedPluginOrder = append(o.RecommendedPluginOrder, name)
	}
}

func certKey(p pair) genericopts.CertKey {
	return genericopts.CertKey{CertFile: p.cert, KeyFile: p.key}
}

// waitReady returns when the server says that it is ready.
func (a *apiServer) waitReady(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", a.cfg.kubeconfig(idSystem))
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var status int
		client.RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&status)
		if status == http.StatusOK {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
