package engine

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Real-time signals as the C library counts them: it keeps the first two.
const (
	sigRTMin = 34
	sigRTMax = 64
)

// signalNumber reads SIGTERM, TERM, 15, SIGRTMIN+3 or RTMAX-1.
func signalNumber(name string) (int, error) {
	s := strings.ToUpper(strings.TrimSpace(name))
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > sigRTMax {
			return 0, fmt.Errorf("signal %q: %w", name, fault.Invalid)
		}
		return n, nil
	}
	s = strings.TrimPrefix(s, "SIG")
	for base, from := range map[string]int{"RTMIN": sigRTMin, "RTMAX": sigRTMax} {
		rest, ok := strings.CutPrefix(s, base)
		if !ok {
			continue
		}
		off := 0
		if rest != "" {
			var err error
			if off, err = strconv.Atoi(rest); err != nil {
				return 0, fmt.Errorf("signal %q: %w", name, fault.Invalid)
			}
		}
		if n := from + off; n >= sigRTMin && n <= sigRTMax {
			return n, nil
		}
	}
	switch s { // old names that the kernel still means
	case "CLD":
		return int(unix.SIGCHLD), nil
	case "POLL":
		return int(unix.SIGIO), nil
	case "IOT":
		return int(unix.SIGABRT), nil
	}
	if n := unix.SignalNum("SIG" + s); n != 0 {
		return int(n), nil
	}
	return 0, fmt.Errorf("signal %q: %w", name, fault.Invalid)
}
