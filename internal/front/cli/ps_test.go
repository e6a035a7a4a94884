package cli

import (
	"testing"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/api/local"
)

func TestWhichRuntimeACopyHas(t *testing.T) {
	here := []local.Container{
		{ID: "n", Runtime: "native"}, {ID: "m", Runtime: "native"}, {ID: "r", Runtime: "runc"},
		{ID: "h", Runtime: "runc", Why: "hooks.createContainer"},
	}
	for name, tt := range map[string]struct {
		containers []string
		want       string
	}{
		"the one of all its containers":        {[]string{"n", "m"}, "native"},
		"each, where they differ":              {[]string{"n", "r"}, "native,runc"},
		"with the reason, where nobody asked":  {[]string{"h"}, "runc (hooks.createContainer)"},
		"with the reason for one of several":   {[]string{"n", "h"}, "native,runc (hooks.createContainer)"},
		"unknown, while it is on another node": {[]string{"x"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var p client.Pod
			p.Name = "web"
			for _, id := range tt.containers {
				p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, client.ContainerStatus{ContainerID: "containerd://" + id})
			}
			list := copies([]client.Pod{p}, here, false)
			if len(list) != 1 || list[0].runtime() != tt.want {
				t.Errorf("RUNTIME = %+v, want %q", list, tt.want)
			}
		})
	}
}
