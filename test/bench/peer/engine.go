package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/test/bench/measure"
)

// Engine is Sampan's node engine without Kubernetes.
type Engine struct {
	*Node
	*CRI
	PID    int // of the engine; the keeper is another process
	keeper string
	undo   closers
}

// NewEngine builds the engine, runs it in room number n and loads the image.
func NewEngine(ctx context.Context, source, dir string, n int, im Image) (_ *Engine, err error) {
	e := &Engine{}
	defer func() {
		if err != nil {
			e.undo.close()
		}
	}()
	program, keeper := filepath.Join(dir, "engine-alone"), filepath.Join(dir, "sampan-keeper")
	for out, pkg := range map[string]string{program: "./test/bench/engine", keeper: "./cmd/sampan-keeper"} {
		if err := Build(ctx, source, out, pkg); err != nil {
			return nil, err
		}
	}
	room, err := NewRoom(dir, "engine", n)
	if err != nil {
		return nil, err
	}
	e.undo.add(room.Close)
	e.keeper = filepath.Join(room.Run, "keeper")
	name := fmt.Sprintf("smpbench%d", os.Getpid()%100000)
	up := func(ctx context.Context) error {
		if e.CRI, err = DialCRI(ctx, filepath.Join(room.Run, "cri.sock"), filepath.Join(room.Dir, "podlogs")); err != nil {
			return err
		}
		e.Node = &Node{client.OpenNode(room.Run)}
		_, err := e.Containers(ctx)
		return err
	}
	process, err := room.daemon(ctx, nil, up, program, "-data", room.Dir, "-run", room.Run, "-keeper", keeper, "-name", name)
	if err != nil {
		return nil, err
	}
	e.PID = process.cmd.Process.Pid
	e.undo.add(func() error { process.stop(); return nil })
	e.undo.add(func() error { return errors.Join(e.removePods(context.Background()), e.CRI.Close()) })
	return e, e.load(ctx, im)
}

// Memory is what engine and keeper hold together.
func (e *Engine) Memory() (measure.Memory, error) {
	keepers, err := measure.Processes("sampan-keeper", e.keeper)
	if err != nil {
		return measure.Memory{}, err
	}
	return memoryOf(append(keepers, e.PID))
}

func memoryOf(pids []int) (measure.Memory, error) {
	var sum measure.Memory
	for _, pid := range pids {
		m, err := measure.MemoryOf(pid)
		if err != nil {
			return sum, err
		}
		sum.RSS, sum.PSS = sum.RSS+m.RSS, sum.PSS+m.PSS
	}
	return sum, nil
}

// Close stops it and deletes its data.
func (e *Engine) Close() error {
	if err := e.undo.close(); err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	return nil
}
