package local

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	api "github.com/sampan-cloud/sampan/api/local"
	"github.com/sampan-cloud/sampan/api/stream"
	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/image"
	"github.com/sampan-cloud/sampan/internal/node/network"
)

// Size and number of the log files that a one-off keeps.
const (
	logSize  = 10 << 20
	logFiles = 3
)

// cpuPeriod is the kernel's usual 100 ms.
const cpuPeriod = 100_000

// run makes a one-off, starts it and stays connected until it has ended.
func (s *Server) run(w http.ResponseWriter, r *http.Request) error {
	var req api.Run
	if err := read(r, &req); err != nil {
		return err
	}
	ctx := r.Context()
	pod, ctr, err := s.oneOff(&req)
	if err != nil {
		return err
	}
	if err := s.present(ctx, req.Image); err != nil {
		return err
	}
	p, err := s.engine.RunPod(ctx, pod)
	if err != nil {
		return fmt.Errorf("run %s: %w", req.Image, err)
	}
	c, err := s.engine.CreateContainer(ctx, engine.OwnerLocal, p.ID, ctr)
	if err != nil {
		s.discard(p.ID)
		return fmt.Errorf("run %s: %w", req.Image, err)
	}
	conn, err := upgrade(w, r)
	if err != nil {
		s.discard(p.ID)
		return fmt.Errorf("run %s: %w", req.Image, err)
	}
	defer conn.Close()
	s.follow(conn, &req, c)
	if req.Remove && s.base.Err() == nil {
		s.discard(p.ID)
	}
	return nil
}

// follow starts the container, carries its streams and tells how it ended. A
// client that hangs up ends a one-off that would be removed anyway; any other
// goes on.
func (s *Server) follow(conn *connection, req *api.Run, c engine.Container) {
	// Not the request's context: it ends when the connection is taken over.
	ctx, cancel := context.WithCancel(s.base)
	defer cancel()
	if err := s.engine.StartContainer(ctx, engine.OwnerLocal, c.ID); err != nil {
		conn.fail(fmt.Errorf("run %s: %w", req.Image, err))
		return
	}
	started, err := json.Marshal(api.Started{ID: c.ID})
	if err == nil {
		err = conn.out.Send(stream.Started, started)
	}
	if err != nil {
		conn.fail(err)
		return
	}
	streams := conn.streams(ctx, cancel, streamsWanted{tty: req.TTY, stdin: req.Stdin, width: req.Width, height: req.Height},
		func(n int) error {
			return s.engine.Signal(ctx, engine.OwnerLocal, c.ID, strconv.Itoa(n))
		})
	attached := s.engine.Attach(ctx, engine.OwnerLocal, c.ID, streams)
	if ctx.Err() != nil { // the client is gone
		return
	}
	ended, err := s.engine.WaitContainer(ctx, engine.OwnerLocal, c.ID)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		conn.fail(err)
	case attached != nil && fault.Of(attached) != fault.Precondition && fault.Of(attached) != fault.NotFound:
		conn.fail(attached)
	default:
		_ = conn.out.SendExit(ended.Code) // or the client has hung up
	}
}

// present pulls an image that is not here.
func (s *Server) present(ctx context.Context, ref string) error {
	_, err := s.engine.Image(ctx, ref)
	if fault.Of(err) != fault.NotFound {
		return err
	}
	_, err = s.engine.PullImage(ctx, ref, image.PullOptions{})
	return err
}

// discard removes a one-off after its caller has been answered.
func (s *Server) discard(podID string) {
	s.work.Go(func() {
		ctx, cancel := context.WithTimeout(s.base, time.Minute)
		defer cancel()
		if err := s.engine.RemovePod(ctx, engine.OwnerLocal, podID); err != nil {
			s.log.Warn("one-off not removed", "pod", podID, "err", err)
		}
	})
}

// oneOff puts a request into the engine's words.
func (s *Server) oneOff(req *api.Run) (engine.PodConfig, engine.ContainerConfig, error) {
	name := req.Name
	if name == "" {
		name = "run-" + strings.ToLower(rand.Text()[:10])
	}
	pod := engine.PodConfig{
		Owner: engine.OwnerLocal, Name: name, Hostname: hostname(name), LogDir: s.cfg.LogDir,
		Handler: req.Runtime, Privileged: req.Privileged, AutoRemove: req.Remove,
	}
	ctr := engine.ContainerConfig{
		Name: name, Image: req.Image, UserImage: req.Image, Command: req.Entrypoint, Args: req.Args,
		Env: req.Env, Dir: req.Workdir, TTY: req.TTY, Stdin: req.Stdin, StdinOnce: true,
		Log: name + ".log", LogSize: logSize, LogFiles: logFiles, Hold: true,
		Security: engine.Security{
			Privileged: req.Privileged, Username: req.User,
			Seccomp:     engine.Profile{Type: engine.ProfileDefault},
			MaskedPaths: engine.DefaultMaskedPaths(), ReadonlyPaths: engine.DefaultReadonlyPaths(),
		},
	}
	if req.Image == "" {
		return pod, ctr, fmt.Errorf("image is missing: %w", fault.Invalid)
	}
	switch req.Network {
	case "", "bridge":
	case "host":
		pod.Net, pod.Hostname = engine.ModeNode, ""
	case "none":
		pod.Net = engine.ModeContainer
	default:
		return pod, ctr, fmt.Errorf("network %q is none of bridge, host and none: %w", req.Network, fault.Invalid)
	}
	for _, p := range req.Publish {
		port, err := publish(p)
		if err != nil {
			return pod, ctr, err
		}
		pod.Ports = append(pod.Ports, port)
	}
	if len(pod.Ports) > 0 && pod.Net != "" {
		return pod, ctr, fmt.Errorf("publish needs the bridge network, not %s: %w", req.Network, fault.Invalid)
	}
	for _, m := range req.Mounts {
		ctr.Mounts = append(ctr.Mounts, engine.Mount{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	if req.CPU < 0 || req.Memory < 0 {
		return pod, ctr, fmt.Errorf("cpu and memory must not be below zero: %w", fault.Invalid)
	}
	if req.CPU > 0 || req.Memory > 0 {
		ctr.Resources = &engine.Resources{Memory: req.Memory}
		if req.CPU > 0 {
			ctr.Resources.CPUPeriod, ctr.Resources.CPUQuota = cpuPeriod, int64(req.CPU*cpuPeriod)
		}
	}
	return pod, ctr, nil
}

// hostname makes a name that the kernel and resolvers accept.
func hostname(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, name)
	return name[:min(len(name), 63)]
}

// publish reads [hostIP:]hostPort:port[/protocol].
func publish(s string) (network.Port, error) {
	bad := func(why error) (network.Port, error) {
		return network.Port{}, fmt.Errorf("publish %q is not [hostIP:]hostPort:port[/protocol]: %w: %w", s, fault.Invalid, why)
	}
	rest, protocol, ok := strings.Cut(s, "/")
	if !ok {
		protocol = "tcp"
	}
	if protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
		return bad(fmt.Errorf("protocol %q", protocol))
	}
	i := strings.LastIndexByte(rest, ':')
	if i < 0 {
		return bad(fmt.Errorf("no host port"))
	}
	host, inside := rest[:i], rest[i+1:]
	p := network.Port{Protocol: protocol}
	if j := strings.LastIndexByte(host, ':'); j >= 0 {
		addr, err := netip.ParseAddr(strings.Trim(host[:j], "[]"))
		if err != nil {
			return bad(err)
		}
		p.HostIP, host = addr, host[j+1:]
	}
	for _, part := range []struct {
		text string
		port *uint16
	}{{host, &p.HostPort}, {inside, &p.PodPort}} {
		n, err := strconv.ParseUint(part.text, 10, 16)
		if err != nil || n == 0 {
			return bad(fmt.Errorf("port %q", part.text))
		}
		*part.port = uint16(n)
	}
	return p, nil
}
