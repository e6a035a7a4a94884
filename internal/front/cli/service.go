package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/catalog"
	"github.com/sampan-cloud/sampan/api/client"
)

// endpointSlice is what is read of an EndpointSlice.
type endpointSlice struct {
	client.Meta `json:"metadata"`
	Endpoints   []struct {
		Addresses  []string
		Conditions struct{ Ready *bool }
	}
}

// serviceLine is one line of `sampan service list`.
type serviceLine struct {
	Name      string   `json:"name"`
	Namespace string   `json:"namespace"`
	App       string   `json:"app,omitempty"`
	Outside   bool     `json:"outside,omitempty"` // of processes outside the cluster
	DNS       string   `json:"dns"`
	Address   string   `json:"address"`
	Ports     []int    `json:"ports"`
	Ready     int      `json:"ready"`
	Endpoints int      `json:"endpoints"`
	Addresses []string `json:"addresses"`
}

func (a *app) serviceCommand() *cobra.Command {
	list := listing(a, "list", "service.list", func(ctx context.Context, k *client.Kube) ([]serviceLine, error) {
		var services client.Items[client.Service]
		if err := k.Get(ctx, client.ServicePath(k.Namespace, ""), &services); err != nil {
			return nil, err
		}
		var slices client.Items[endpointSlice]
		err := k.Get(ctx, client.EndpointSlicePath(k.Namespace, ""), &slices)
		return registry(services.Items, slices.Items), err
	}, a.showServices)
	list.Aliases = []string{"ls"}
	c := &cobra.Command{Use: "service", Aliases: []string{"services"}, Short: a.text.get("service.short")}
	c.AddCommand(list, a.serviceShow(), a.serviceRegister(), a.serviceBeat(), a.serviceRemove())
	return c
}

// registry joins services with what answers for them.
func registry(services []client.Service, slicesOf []endpointSlice) []serviceLine {
	list := []serviceLine{}
	for _, s := range services {
		l := serviceLine{
			Name: s.Name, Namespace: s.Namespace, App: s.Labels[client.LabelApp],
			Outside: s.Labels[client.LabelManagedBy] == catalog.ManagedBy,
			DNS:     s.Name + "." + s.Namespace, Address: s.Spec.ClusterIP, Ports: []int{}, Addresses: []string{},
		}
		for _, p := range s.Spec.Ports {
			l.Ports = append(l.Ports, p.Port)
		}
		for _, e := range slicesOf {
			if e.Namespace != s.Namespace || e.Labels["kubernetes.io/service-name"] != s.Name {
				continue
			}
			for _, end := range e.Endpoints {
				l.Endpoints++
				// Nothing said means ready.
				if r := end.Conditions.Ready; r == nil || *r {
					l.Ready++
				}
				l.Addresses = append(l.Addresses, end.Addresses...)
			}
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(x, y serviceLine) int { return strings.Compare(x.Namespace+"/"+x.Name, y.Namespace+"/"+y.Name) })
	return list
}

func (a *app) showServices(list []serviceLine, all bool) {
	head := func(column string) string { return a.text.get("service.column." + column) }
	t := a.table(head("name"), head("app"), head("dns"), head("address"), head("ports"), head("ready"))
	for _, l := range list {
		name := l.Name
		if all {
			name = l.Namespace + "/" + name
		}
		app := l.App
		if l.Outside {
			app = a.text.get("service.outside")
		}
		ports := strings.Trim(strings.ReplaceAll(fmt.Sprint(l.Ports), " ", ","), "[]")
		t.row(name, app, l.DNS, l.Address, ports, fmt.Sprintf("%d/%d", l.Ready, l.Endpoints))
	}
	t.flush()
}
