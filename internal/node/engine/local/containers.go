package local

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	api "github.com/sampan-cloud/sampan/api/local"
	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine"
)

// owners are all the APIs that make containers.
var owners = [...]string{engine.OwnerLocal, engine.OwnerCRI}

func (s *Server) listContainers(w http.ResponseWriter, r *http.Request) error {
	all, err := flag(r, "all")
	if err != nil {
		return err
	}
	list := []api.Container{}
	for _, owner := range owners {
		pods := map[string]engine.Pod{}
		for _, p := range s.engine.Pods(owner) {
			pods[p.ID] = p
		}
		for _, c := range s.engine.Containers(owner) {
			p, ok := pods[c.PodID]
			if ok && (all || c.State == engine.Running) {
				list = append(list, show(&p, &c))
			}
		}
	}
	answer(w, http.StatusOK, list)
	return nil
}

func show(p *engine.Pod, c *engine.Container) api.Container {
	out := api.Container{
		ID: c.ID, Name: c.Config.Name, Image: c.Image.Name, State: string(c.State), Code: c.Code, Reason: c.Reason,
		IP: p.IP(), Runtime: c.Runtime, Why: c.RuntimeReason, Created: c.Created, Started: c.Started, Labels: p.Config.Labels,
		PID: c.PID, OneOff: p.Config.Owner == engine.OwnerLocal,
	}
	if out.Runtime == "" {
		out.Runtime = "native"
	}
	if !out.OneOff {
		out.Pod, out.Namespace = p.Config.Name, p.Config.Namespace
	}
	return out
}

// find returns the container with this ID, a unique beginning of it, or its
// name; of several with one name, the youngest that runs.
func (s *Server) find(id string) (owner string, c engine.Container, err error) {
	var named *engine.Container
	for _, o := range owners {
		c, err := s.engine.Container(o, id)
		if err == nil {
			return o, c, nil
		}
		if fault.Of(err) != fault.NotFound {
			return "", c, err
		}
		for _, c := range s.engine.Containers(o) { // oldest first
			better := named == nil || c.State == engine.Running || named.State != engine.Running
			if c.Config.Name == id && better {
				named, owner = &c, o
			}
		}
		if named != nil {
			return owner, *named, nil
		}
	}
	return "", engine.Container{}, fmt.Errorf("container %s: %w", id, fault.NotFound)
}

func (s *Server) stop(w http.ResponseWriter, r *http.Request) error {
	owner, c, err := s.find(r.PathValue("id"))
	if err != nil {
		return err
	}
	timeout := time.Duration(-1)
	if t := r.URL.Query().Get("timeout"); t != "" {
		if timeout, err = time.ParseDuration(t); err != nil || timeout < 0 {
			return fmt.Errorf("timeout %q is not a duration like 10s: %w", t, fault.Invalid)
		}
	}
	if err := s.engine.StopContainer(r.Context(), owner, c.ID, timeout); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// removeContainer removes a one-off. A pod's container is the kubelet's, which
// would only start it again.
func (s *Server) removeContainer(w http.ResponseWriter, r *http.Request) error {
	owner, c, err := s.find(r.PathValue("id"))
	if err != nil {
		return err
	}
	force, err := flag(r, "force")
	switch {
	case err != nil:
		return err
	case owner != engine.OwnerLocal:
		return fmt.Errorf("container %s belongs to a pod; delete the pod or its app: %w", c.Config.Name, fault.Precondition)
	case c.State == engine.Running && !force:
		return fmt.Errorf("container %s is running; stop it first or force its removal: %w", c.Config.Name, fault.Precondition)
	}
	if err := s.engine.RemovePod(r.Context(), owner, c.PodID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// flag reads a query parameter that is true or false.
func flag(r *http.Request, name string) (bool, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("%s=%q is neither true nor false: %w", name, v, fault.Invalid)
	}
	return b, nil
}
