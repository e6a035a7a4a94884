package edge

import (
	"bytes"
	"context"
	"log/slog"
)

// levels hands the lines of the standard logger on, each at the level that it
// begins with. CoreDNS writes that way: "[WARNING] plugin/kubernetes: …".
type levels struct{ log *slog.Logger }

// Write is called by the standard logger once for each line.
func (l levels) Write(line []byte) (int, error) {
	text, level := bytes.TrimSpace(line), slog.LevelInfo
	for prefix, of := range map[string]slog.Level{
		"[DEBUG] ": slog.LevelDebug, "[INFO] ": slog.LevelInfo, "[WARNING] ": slog.LevelWarn,
		"[ERROR] ": slog.LevelError, "[PANIC] ": slog.LevelError, "[FATAL] ": slog.LevelError,
	} {
		if rest, ok := bytes.CutPrefix(text, []byte(prefix)); ok {
			text, level = rest, of
			break
		}
	}
	l.log.Log(context.Background(), level, string(text))
	return len(line), nil
}
