package local

import (
	"context"
	"net/http"

	api "github.com/sampan-cloud/sampan/api/local"
	"github.com/sampan-cloud/sampan/internal/node/engine"
)

// exec runs one more process in a container. It ends when its client hangs up.
func (s *Server) exec(w http.ResponseWriter, r *http.Request) error {
	var req api.Exec
	if err := read(r, &req); err != nil {
		return err
	}
	owner, c, err := s.find(r.PathValue("id"))
	if err != nil {
		return err
	}
	conn, err := upgrade(w, r)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(s.base)
	defer cancel()
	io := conn.streams(ctx, cancel, streamsWanted{tty: req.TTY, stdin: req.Stdin, width: req.Width, height: req.Height},
		func(n int) error {
			if n == hangup {
				cancel()
			}
			return nil
		})
	code, err := s.engine.Exec(ctx, owner, c.ID, engine.ExecConfig{
		Args: req.Args, Env: req.Env, TTY: req.TTY, User: req.User,
	}, io)
	switch {
	case ctx.Err() != nil: // the client is gone
	case err != nil:
		conn.fail(err)
	default:
		_ = conn.out.SendExit(code) // or the client has hung up
	}
	return nil
}

// hangup is SIGHUP: the terminal of the client is gone.
const hangup = 1
