package engine

import "github.com/sampan-cloud/sampan/internal/node/engine/internal/gauges"

// Gauges are what a container's processes use, in the detail of metrics.
type Gauges = gauges.Sample

// Space is the size of a filesystem.
type Space = gauges.Space

// Gauges takes a sample of a container. One that does not run uses nothing.
func (e *Engine) Gauges(c *Container) (Gauges, error) {
	if c.State != Running || c.PID == 0 {
		return Gauges{}, nil
	}
	return gauges.Read(c.PID)
}

// Space tells about the filesystem that containers write to.
func (e *Engine) Space() (Space, error) { return gauges.ReadSpace(e.cfg.Dir) }
