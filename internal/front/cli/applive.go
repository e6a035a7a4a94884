package cli

import (
	"context"
	"errors"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/sampan-cloud/sampan/api/client"
)

// live is the picture of an app that follows it, with keys for its rollout.
type live struct {
	cli     *app
	kube    *client.Kube
	ctx     context.Context // of the program, which is as long as the screen
	app     client.App
	changes <-chan change
	columns int
	said    string // what came of the last key
	err     error
}

// showLive draws an app until the user leaves.
func (a *app) showLive(ctx context.Context, k *client.Kube, now client.App) error {
	changes, stop := a.watchApp(ctx, k, now.Name)
	defer stop()
	m := live{cli: a, kube: k, ctx: ctx, app: now, changes: changes}
	last, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(a.In), tea.WithOutput(a.Out), tea.WithoutSignalHandler()).Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	return last.(live).err
}

type tick struct{}
type said string

func second() tea.Cmd { return tea.Tick(time.Second, func(time.Time) tea.Msg { return tick{} }) }

// next waits for the app's next state.
func (m live) next() tea.Msg {
	select {
	case c := <-m.changes:
		return c
	case <-m.ctx.Done():
		return tea.Quit()
	}
}

// Init begins to follow.
func (m live) Init() tea.Cmd { return tea.Batch(m.next, second()) }

// keys are the commands that a key gives.
var keys = map[string]string{"p": "pause", "r": "resume", "m": "promote", "a": "abort"}

// Update takes a change, a key or the time.
func (m live) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.columns = msg.Width
	case tick:
		return m, second()
	case said:
		m.said = string(msg)
	case change:
		if m.err = msg.err; m.err != nil {
			return m, tea.Quit
		}
		m.app = msg.app
		return m, m.next
	case tea.KeyPressMsg:
		key := msg.String()
		switch verb := keys[key]; {
		case key == "q" || key == "esc" || key == "ctrl+c":
			return m, tea.Quit
		case verb != "":
			m.said = verb + "…"
			return m, m.ask(verb)
		}
	}
	return m, nil
}

// ask gives the app a command without holding up the picture.
func (m live) ask(verb string) tea.Cmd {
	return func() tea.Msg {
		answer, err := m.cli.ask(m.ctx, m.kube, m.app.Name, verb)
		if err != nil {
			return said(err.Error())
		}
		return said(verb + ": " + answer)
	}
}

// View draws the app, and below it the keys that make sense now.
func (m live) View() tea.View {
	var b strings.Builder
	b.WriteString(m.cli.draw(&m.app, colourInk, m.columns))
	b.WriteString("\n")
	if m.said != "" {
		b.WriteString(m.said + "\n")
	}
	help := m.cli.text.get("app.keys.quit")
	if r := m.app.Status.Rollout; r != nil && (r.Phase == "Starting" || r.Phase == "Watching") {
		help = m.cli.text.get("app.keys.rollout")
	}
	b.WriteString(colourInk("quiet", help))
	return tea.NewView(b.String())
}
