package container

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/sampan-cloud/sampan/internal/node/container/keeper"
)

// usual are the OCI runtimes that are used where they are installed, without
// anybody naming them. Of several that could run a container, the first does.
var usual = [...]string{"runc", "crun"}

// handlers are the stock OCI runtimes of a node: those that are configured and
// the usual ones that are installed, which may be so from one minute to the next.
type handlers struct {
	configured map[string]string                    // handler to program
	look       func(program string) (string, error) // finds what is installed

	mu    sync.Mutex
	known map[string]stock // by program
}

// stock is what an OCI runtime says of itself.
type stock struct {
	handler string
	program string
	changed time.Time // the program's; a newer one is asked again
	name    string    // runc, crun: the first word of its version
	can     features.Features
}

func newHandlers(configured map[string]string) *handlers {
	h := &handlers{configured: map[string]string{}, look: keeper.LookPath, known: map[string]stock{}}
	for handler, program := range configured {
		if handler != "" { // the native path
			h.configured[handler] = program
		}
	}
	return h
}

// program returns the program of a handler, or "".
func (h *handlers) program(handler string) string {
	if p := h.configured[handler]; p != "" {
		return p
	}
	if slices.Contains(usual[:], handler) {
		if path, err := h.look(handler); err == nil {
			return path
		}
	}
	return ""
}

// names lists the handlers: the usual ones first, in their order.
func (h *handlers) names() []string {
	var list []string
	for _, name := range usual {
		if h.program(name) != "" {
			list = append(list, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(h.configured)) {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// ask returns what the runtime of a handler says of itself.
func (h *handlers) ask(ctx context.Context, handler string) (stock, error) {
	path, err := h.look(h.program(handler))
	if err != nil {
		return stock{}, fmt.Errorf("runtime handler %s: %w", handler, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return stock{}, fmt.Errorf("runtime handler %s: %w", handler, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.known[path]
	if !ok || !s.changed.Equal(info.ModTime()) {
		s = stock{program: path, changed: info.ModTime()}
		version, err := say(ctx, path, "--version")
		if err != nil {
			return stock{}, fmt.Errorf("runtime handler %s: %s --version: %w", handler, path, err)
		}
		s.name, _, _ = strings.Cut(strings.TrimSpace(string(version)), " ")
		// Older ones have no such command. What they can do is then taken for
		// what every runtime can.
		if text, err := say(ctx, path, "features"); err == nil {
			_ = json.Unmarshal(text, &s.can)
		}
		h.known[path] = s
	}
	s.handler = handler
	return s, nil
}

// say runs a program that prints something and ends.
func say(ctx context.Context, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Run()
	return out.Bytes(), err
}

// Handlers returns the names of the stock OCI runtimes that a container can ask
// for: those that are configured, and runc and crun where they are installed.
func (r *Runtime) Handlers() []string { return r.handlers.names() }
