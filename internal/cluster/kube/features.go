package kube

import (
	"fmt"

	utilcompat "k8s.io/apiserver/pkg/util/compatibility"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/rest"
	metricsfeatures "k8s.io/component-base/metrics/features"
	apiopts "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// setFeatureGates sets the gates of all components. They share one set, which
// is closed by the registry's Set; each component would do it for itself.
func setFeatureGates(cfg Config) error {
	apiopts.NewServerRunOptions() // registers the component whose gates these are
	gates := map[string]bool{}
	if cfg.StatsByCRI {
		gates["PodAndContainerStatsFromCRI"] = true
	}
	for name, on := range cfg.Features {
		gates[name] = on
	}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(gates); err != nil {
		return fmt.Errorf("feature gates: %w", err)
	}
	if err := utilcompat.DefaultComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("feature gates: %w", err)
	}
	metricsfeatures.ApplyFeatureGates(utilfeature.DefaultFeatureGate)
	// Warnings are for people; the components would log those about themselves.
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	return nil
}
