package kube

import (
	"context"
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/transport"
	cmapp "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	cmopts "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	"k8s.io/kubernetes/pkg/controller/nodeipam/ipam"
)

// Clients in one process with the API server need no protection from each
// other; upstream's limits (20 to 50 a second) would be the cluster's speed.
const (
	clientQPS   = 2000
	clientBurst = 4000
)

const protobuf = "application/vnd.kubernetes.protobuf"

// controllers is kube-controller-manager. It cannot be started twice in one
// process: upstream takes a name for its informers and never gives it back.
type controllers struct {
	cfg Config
}

func (c *controllers) Run(ctx context.Context, ready func()) error {
	o, err := c.options()
	if err != nil {
		return err
	}
	all, off, aliases := cmapp.KnownControllers(), cmapp.ControllersDisabledByDefault(), cmapp.ControllerAliases()
	config, err := o.Config(ctx, all, off, aliases)
	if err != nil {
		return err
	}
	built := make(chan struct{})
	config.Kubeconfig.Wrap(onFirst(attachments, func() { close(built) }))
	ended := make(chan struct{})
	var announcer sync.WaitGroup
	defer announcer.Wait()
	defer close(ended)
	announcer.Go(func() {
		select {
		case <-built:
			ready()
		case <-ended:
		}
	})
	return cmapp.Run(ctx, config.Complete())
}

// attachments is what controllers ask for once all of them are built, not before.
//
// The kubelet must not start earlier: the volume controllers and the kubelet
// each set up the CSI plugin, which keeps its node's name and its handler of
// drivers in package variables. Whoever comes last has them, and with those of
// the controllers, whose node has no name, the node would never be ready.
const attachments = "/apis/storage.k8s.io/v1/volumeattachments"

// onFirst calls f at the first request for path.
func onFirst(path string, f func()) transport.WrapperFunc {
	once := sync.OnceFunc(f)
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == path {
				once()
			}
			return next.RoundTrip(r)
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (c *controllers) options() (*cmopts.KubeControllerManagerOptions, error) {
	o, err := cmopts.NewKubeControllerManagerOptions()
	if err != nil {
		return nil, err
	}
	o.Generic.ClientConnection.Kubeconfig = c.cfg.kubeconfig(idControllers)
	o.Generic.ClientConnection.QPS = clientQPS
	o.Generic.ClientConnection.Burst = clientBurst
	o.Generic.ClientConnection.ContentType = protobuf
	o.Generic.LeaderElection.LeaderElect = false
	o.Generic.Controllers = []string{"*"}
	o.SecureServing.BindPort = 0 // its metrics are in the API server's /metrics: one process
	o.Authentication.SkipInClusterLookup = true

	o.KubeCloudShared.ClusterCIDR = c.cfg.PodCIDR.String()
	o.KubeCloudShared.ClusterName = "sampan"
	o.KubeCloudShared.AllocateNodeCIDRs = true
	o.KubeCloudShared.ConfigureCloudRoutes = false
	o.KubeCloudShared.UseServiceAccountCredentials = true // each controller has its own role only
	o.KubeCloudShared.CIDRAllocatorType = string(ipam.RangeAllocatorType)
	o.NodeIPAMController.NodeCIDRMaskSize = int32(c.cfg.nodeMask())
	o.NodeIPAMController.ServiceCIDR = c.cfg.ServiceCIDR.String()

	o.SAController.ServiceAccountKeyFile = c.cfg.tokenKey().key
	o.SAController.RootCAFile = c.cfg.pair("ca").cert
	o.CSRSigningController.ClusterSigningCertFile = c.cfg.pair("ca").cert
	o.CSRSigningController.ClusterSigningKeyFile = c.cfg.pair("ca").key

	// As often as there are new figures: upstream waits for 15 seconds, in
	// which a load that has come is not seen.
	o.HPAController.HorizontalPodAutoscalerSyncPeriod = metav1.Duration{Duration: scrapeEvery}

	o.DeploymentController.ConcurrentDeploymentSyncs = 20
	o.ReplicaSetController.ConcurrentRSSyncs = 20
	o.JobController.ConcurrentJobSyncs = 20
	o.EndpointSliceController.ConcurrentServiceEndpointSyncs = 10
	// The older Endpoints are written anew for every copy that comes or goes, and
	// nobody here reads them: DNS, proxies and the gateway read EndpointSlices.
	o.EndpointController.EndpointUpdatesBatchPeriod = metav1.Duration{Duration: 500 * time.Millisecond}
	return o, nil
}
