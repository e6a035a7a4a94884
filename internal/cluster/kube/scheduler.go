package kube

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	componentconfig "k8s.io/component-base/config/v1alpha1"
	"k8s.io/component-base/configz"
	schedconfig "k8s.io/kube-scheduler/config/v1"
	app "k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/cmd/kube-scheduler/app/options"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

// scheduler is kube-scheduler.
type scheduler struct {
	cfg Config
}

func (s *scheduler) Run(ctx context.Context, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	path, err := s.writeConfig()
	if err != nil {
		return err
	}
	o := options.NewOptions()
	// Setup throws away a configuration that comes in any way but as a file.
	o.ConfigFile = path
	o.SecureServing.BindPort = 0 // its metrics are in the API server's /metrics: one process
	completed, sched, err := app.Setup(ctx, o)
	if err != nil {
		return err
	}
	configz.Delete("componentconfig") // of a run before this one
	ready()
	return app.Run(ctx, completed, sched)
}

func (s *scheduler) writeConfig() (path string, err error) {
	b, err := yaml.Marshal(schedconfig.KubeSchedulerConfiguration{
		TypeMeta: metav1.TypeMeta{APIVersion: schedconfig.SchemeGroupVersion.String(), Kind: "KubeSchedulerConfiguration"},
		ClientConnection: componentconfig.ClientConnectionConfiguration{
			Kubeconfig:  s.cfg.kubeconfig(idScheduler),
			QPS:         clientQPS,
			Burst:       clientBurst,
			ContentType: protobuf,
		},
		LeaderElection:           componentconfig.LeaderElectionConfiguration{LeaderElect: ptr.To(false)},
		PodInitialBackoffSeconds: ptr.To(int64(1)),
	})
	if err != nil {
		return "", err
	}
	path = s.cfg.path("config", "scheduler.yaml")
	return path, writeFile(path, b)
}
