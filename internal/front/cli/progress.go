package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress shows steps that take time: as a list that is drawn anew on a
// terminal; elsewhere as one line a finished step, and one now and then for those
// that are not, so that a log shows what is waited for.
type progress struct {
	out   io.Writer
	live  bool
	mu    sync.Mutex
	steps []*step
	drawn int // lines on the screen that belong to us
	stop  chan struct{}
	ended sync.WaitGroup
}

// step is one line.
type step struct {
	id, title string
	note      string
	began     time.Time
	took      time.Duration
	done      bool
	err       error
}

// progress makes a display; the caller closes it.
func (a *app) progress() *progress {
	p := &progress{out: a.Err, stop: make(chan struct{})}
	if f, ok := a.Err.(*os.File); ok && term.IsTerminal(int(f.Fd())) && a.Getenv("TERM") != "dumb" {
		p.live = true
		p.ended.Go(p.animate)
	} else {
		p.ended.Go(func() { p.remind(remindEvery) })
	}
	return p
}

// remindEvery is how often a log is told what is waited for.
const remindEvery = 10 * time.Second

// remind tells of the steps that have been going on for a while.
func (p *progress) remind(every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-p.stop:
			return
		case now := <-t.C:
			p.mu.Lock()
			for _, s := range p.steps {
				if !s.done && now.Sub(s.began) >= every/2 {
					fmt.Fprintln(p.out, s.line(now))
				}
			}
			p.mu.Unlock()
		}
	}
}

func (p *progress) animate() {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-t.C:
			p.mu.Lock()
			p.draw()
			p.mu.Unlock()
		}
	}
}

// step begins a line, once per id.
func (p *progress) step(id, title string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.find(id) == nil {
		p.steps = append(p.steps, &step{id: id, title: title, began: time.Now()})
	}
}

// note puts words behind a line, such as how many bytes are there.
func (p *progress) note(id, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.find(id); s != nil {
		s.note = text
	}
}

// done ends a line, once.
func (p *progress) done(id string, took time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.find(id)
	if s == nil || s.done {
		return
	}
	s.done, s.took, s.err = true, took, err
	if !p.live {
		fmt.Fprintln(p.out, s.line(time.Now()))
	}
}

// close draws for the last time. It may be called again.
func (p *progress) close() {
	select {
	case <-p.stop:
		return
	default:
		close(p.stop)
	}
	p.ended.Wait()
	if p.live {
		p.draw()
	}
}

func (p *progress) find(id string) *step {
	for _, s := range p.steps {
		if s.id == id {
			return s
		}
	}
	return nil
}

func (p *progress) draw() {
	var b strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", p.drawn)
	}
	for _, s := range p.steps {
		b.WriteString("\x1b[2K" + s.line(time.Now()) + "\n")
	}
	p.drawn = len(p.steps)
	io.WriteString(p.out, b.String())
}

var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

func (s *step) line(now time.Time) string {
	mark, took := "✓", s.took
	switch {
	case s.err != nil:
		mark = "✗"
	case !s.done:
		took = now.Sub(s.began)
		mark = string(spinner[int(took/(100*time.Millisecond))%len(spinner)])
	}
	text := fmt.Sprintf(" %s %-44s %6.2fs", mark, s.title, took.Seconds())
	if s.note != "" {
		text += "  " + s.note
	}
	return text
}
