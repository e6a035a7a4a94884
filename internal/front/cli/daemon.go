package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/api/config"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// daemon starts and stops the daemon of one data directory: as a systemd unit
// where systemd runs, else as a process of its own session.
type daemon struct {
	file   config.File
	config string // path of the configuration file, if one was named
	text   text   // of the user
}

// program is where the daemon's program is.
func program(f config.File) string { return filepath.Join(f.DataDir, "bin", "current", "sampand") }

// logPath is the daemon's log where systemd does not keep it.
func logPath(f config.File) string { return filepath.Join(f.DataDir, "log", "sampand.log") }

// makeCurrent makes dir the programs that are started from now on.
func makeCurrent(dataDir, dir string) error {
	link := filepath.Join(dataDir, "bin", "current")
	tmp := link + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Base(dir), tmp); err != nil {
		return err
	}
	return os.Rename(tmp, link)
}

// removeOthers deletes the programs of versions other than the current one.
// Whoever still runs one of them keeps its file until it ends.
func removeOthers(dataDir string) error {
	bin := filepath.Join(dataDir, "bin")
	current, err := os.Readlink(filepath.Join(bin, "current"))
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(bin)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() && e.Name() != current {
			errs = append(errs, os.RemoveAll(filepath.Join(bin, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// args are the daemon program's for one of its commands.
func (d daemon) args(command string, more ...string) []string {
	args := []string{command, "--data-dir", d.file.DataDir}
	if d.config != "" {
		args = append(args, "--config", d.config)
	}
	return append(args, more...)
}

func (d daemon) start(ctx context.Context) error {
	if err := os.Remove(filepath.Join(d.file.RunDir, "error")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if systemd() {
		return d.startUnit(ctx)
	}
	return d.startDetached()
}

// startDetached runs the daemon in a session of its own, so that it outlives
// this terminal.
func (d daemon) startDetached() error {
	if err := os.MkdirAll(filepath.Dir(logPath(d.file)), 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(logPath(d.file), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program(d.file), d.args("server")...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// systemd tells whether systemd manages this machine.
func systemd() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

// unit is the name of the systemd unit of this data directory.
func (d daemon) unit() string { return d.file.Instance() + ".service" }

func (d daemon) unitPath() string { return filepath.Join("/etc/systemd/system", d.unit()) }

// startUnit writes the unit and starts it. KillMode=process leaves the keeper
// and the containers alone when the daemon restarts.
func (d daemon) startUnit(ctx context.Context) error {
	text := fmt.Sprintf(`[Unit]
Description=Sampan container cloud
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=%s
KillMode=process
Delegate=yes
LimitNOFILE=1048576
TasksMax=infinity
OOMScoreAdjust=-999
Restart=on-failure
RestartSec=1

[Install]
WantedBy=multi-user.target
`, strings.Join(append([]string{program(d.file)}, d.args("server")...), " "))
	if err := os.WriteFile(d.unitPath(), []byte(text), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{{"daemon-reload"}, {"enable", "--now", d.unit()}} {
		if err := systemctl(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %s: %w", strings.Join(args, " "), strings.TrimSpace(string(out)), err)
	}
	return nil
}

// stop ends the daemon and waits until it is gone. That it does not run is no
// error.
func (d daemon) stop(ctx context.Context) error {
	if _, err := os.Stat(d.unitPath()); err == nil {
		if err := systemctl(ctx, "disable", "--now", d.unit()); err != nil {
			return err
		}
		return os.Remove(d.unitPath())
	}
	return d.end(ctx)
}

// end ends the daemon's process, however it was started.
func (d daemon) end(ctx context.Context) error {
	if _, err := os.Stat(d.unitPath()); err == nil {
		return systemctl(ctx, "stop", d.unit())
	}
	node := client.OpenNode(d.file.RunDir)
	s, err := node.Status(ctx)
	if errors.Is(err, client.ErrNoDaemon) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := syscall.Kill(s.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%s: %w", d.text.get("down.daemon", s.PID), err)
	}
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		if errors.Is(syscall.Kill(s.PID, 0), syscall.ESRCH) {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", d.text.get("down.stays", s.PID), fault.Timeout)
}
