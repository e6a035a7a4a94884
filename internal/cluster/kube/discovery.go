package kube

import (
	"fmt"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

// describe has clients find API groups that are served by plain handlers. A
// client that looks for a group, as an autoscaler does, asks for the document of
// all groups and not for the group's own path.
func describe(server *genericapiserver.GenericAPIServer, lists []metav1.APIResourceList) error {
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return fmt.Errorf("discovery: %w", err)
		}
		resources, err := endpoints.ConvertGroupVersionIntoToDiscovery(list.APIResources)
		if err != nil {
			return fmt.Errorf("discovery: %s: %w", gv, err)
		}
		if server.AggregatedDiscoveryGroupManager != nil {
			server.AggregatedDiscoveryGroupManager.AddGroupVersion(gv.Group, apidiscovery.APIVersionDiscovery{
				Version: gv.Version, Freshness: apidiscovery.DiscoveryFreshnessCurrent, Resources: resources,
			})
		}
		version := metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version}
		server.DiscoveryGroupManager.AddGroup(metav1.APIGroup{
			Name: gv.Group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version,
		})
	}
	return nil
}
