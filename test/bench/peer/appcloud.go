package peer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/api/client"
)

// AppRef is the image of apps: one static program that answers, WebEnds.
const (
	AppRef  = "bench.local/web:1"
	WebEnds = "/web"
)

// AppCloud is a cloud with apps, and clients beside it that ask over loopback.
type AppCloud struct {
	*Cloud
	API  *client.Kube
	ends string // test/bench/web
}

// NewAppCloud starts a cloud in room number n and gives it the image of apps.
func NewAppCloud(ctx context.Context, source, dir string, n int) (_ *AppCloud, err error) {
	im, err := buildImage(ctx, source, dir, "web-app", "./test/bench/web", AppRef, WebEnds)
	if err != nil {
		return nil, err
	}
	c, err := NewCloud(source, dir, n)
	if err != nil {
		return nil, err
	}
	a := &AppCloud{Cloud: c, ends: im.Program}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if err := c.Up(ctx); err != nil {
		return nil, err
	}
	if err := c.Load(ctx, im); err != nil {
		return nil, err
	}
	a.API, err = c.Kube(ctx)
	return a, err
}

// gateway is where the cloud's gateway listens, seen from the room.
const gateway = "127.0.0.1:80"

// Host is the name that an app answers to.
func (a *AppCloud) Host(app string) string { return app + ".default.sampan.local" }

// Ask asks an app once, over a connection of its own, and returns when the whole
// answer is there.
func (a *AppCloud) Ask(ctx context.Context, app string) error {
	c := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			a.room.Do(func() { conn, err = (&net.Dialer{}).DialContext(ctx, network, addr) })
			return conn, err
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+gateway+"/", nil)
	if err != nil {
		return err
	}
	req.Host = a.Host(app)
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("answered with %s", res.Status)
	}
	return nil
}

// Step asks an app over so many connections at once until so many copies of it
// have answered, and returns after how many seconds each of them first did.
func (a *AppCloud) Step(ctx context.Context, app string, connections, copies int) ([]float64, error) {
	out, err := a.room.Exec(ctx, nil, a.ends, "step", "-addr", gateway, "-host", a.Host(app),
		"-connections", strconv.Itoa(connections), "-copies", strconv.Itoa(copies))
	if err != nil {
		return nil, err
	}
	var took []float64
	return took, json.Unmarshal([]byte(out), &took)
}

// Pressed is how the requests of a span of time went. Times are in milliseconds,
// from when a request was due to its answer.
type Pressed struct {
	Requests, Failed int
	P50, P99, Max    float64
	Errors           []string
}

// Presser asks an app at an even pace until it is closed.
type Presser struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	said strings.Builder
}

// Press begins to ask an app so many times a second.
func (a *AppCloud) Press(app string, rate, connections int) (*Presser, error) {
	p := &Presser{cmd: exec.Command(a.ends, "press", "-addr", gateway, "-host", a.Host(app),
		"-rate", strconv.Itoa(rate), "-connections", strconv.Itoa(connections))}
	p.cmd.WaitDelay = time.Second
	p.cmd.Stderr = &p.said
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	return p, a.room.Start(p.cmd)
}

// Take returns how it has gone since Take was called last.
func (p *Presser) Take() (out Pressed, err error) {
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		return out, fmt.Errorf("press: %w: %s", err, tail(p.said.String()))
	}
	if !p.out.Scan() {
		return out, fmt.Errorf("press ended: %w: %s", errors.Join(p.out.Err(), io.ErrUnexpectedEOF), tail(p.said.String()))
	}
	return out, json.Unmarshal(p.out.Bytes(), &out)
}

// Close ends it.
func (p *Presser) Close() error { return errors.Join(p.in.Close(), p.cmd.Wait()) }
