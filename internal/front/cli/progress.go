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
// terminal; elsewhere as one line a finished step, and one now and then for each
// that takes long, so that a log shows what is waited for.
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
	waits     string // what it waits for, if it takes long
	began     time.Time
	took      time.Duration
	done      bool
	told      time.Time // when a log was last told of it
	err       error
}

// progress makes a display; the caller closes it.
func (a *app) progress() *progress {
	p := &progress{out: a.Err, stop: make(chan struct{})}
	if f, ok := a.Err.(*os.File); ok && term.IsTerminal(int(f.Fd())) && a.Getenv("TERM") != "dumb" {
		p.live = true
	}
	p.ended.Go(p.animate)
	return p
}

// wonder is after how long people want to know what goes on, slow after how
// long they want to know why, and repeat how often a log is told again.
const (
	wonder = time.Second
	slow   = 3 * time.Second
	repeat = 10 * time.Second
)

// tell writes a line about each step that takes its time.
func (p *progress) tell(now time.Time) {
	for _, s := range p.steps {
		due := s.began.Add(wonder)
		if !s.told.IsZero() {
			due = s.told.Add(repeat)
		}
		if !s.done && !now.Before(due) {
			s.told = now
			fmt.Fprintln(p.out, s.line(now, "…"))
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
		case now := <-t.C:
			p.mu.Lock()
			if p.live {
				p.draw()
			} else {
				p.tell(now)
			}
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

// waits says what a step waits for. It is shown when the step takes long.
func (p *progress) waits(id, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.find(id); s != nil {
		s.waits = text
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
		fmt.Fprintln(p.out, s.line(time.Now(), ""))
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
		b.WriteString("\x1b[2K" + s.line(time.Now(), spin(s.began)) + "\n")
	}
	p.drawn = len(p.steps)
	io.WriteString(p.out, b.String())
}

var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

func spin(began time.Time) string {
	return string(spinner[int(time.Since(began)/(100*time.Millisecond))%len(spinner)])
}

// line is a step in one line, with a mark while it goes on.
func (s *step) line(now time.Time, going string) string {
	mark, took, words := "✓", s.took, []string{s.note}
	switch {
	case s.err != nil:
		mark = "✗"
	case !s.done:
		if mark, took = going, now.Sub(s.began); took > slow {
			words = append(words, s.waits)
		}
	}
	text := fmt.Sprintf(" %s %s%s %6.2fs", mark, s.title, strings.Repeat(" ", max(0, 44-width(s.title))), took.Seconds())
	for _, w := range words {
		if w != "" {
			text += "  " + w
		}
	}
	return text
}
