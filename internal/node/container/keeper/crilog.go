package keeper

import (
	"bytes"
	"strconv"
	"time"
)

// stamp is RFC 3339 with all nine digits, so that the same line written twice
// has the same length.
const stamp = "2006-01-02T15:04:05.000000000Z07:00"

// maxLine is where a line is cut, as every other runtime does.
const maxLine = 16 << 10

// streamName is how the CRI log format calls a stream.
type streamName string

// The streams of a container. A terminal's is stdout.
const (
	stdout streamName = "stdout"
	stderr streamName = "stderr"
)

// appendLines appends to dst the log lines that data makes, and returns what is
// left of data: the start of a line whose end has not come, shorter than maxLine.
func appendLines(dst, data []byte, at time.Time, stream streamName) (lines, rest []byte) {
	for len(data) > 0 {
		end := bytes.IndexByte(data[:min(len(data), maxLine+1)], '\n')
		switch {
		case end >= 0:
			dst = appendLine(dst, data[:end], at, stream, 'F')
			data = data[end+1:]
		case len(data) > maxLine:
			dst = appendLine(dst, data[:maxLine], at, stream, 'P')
			data = data[maxLine:]
		default:
			return dst, data
		}
	}
	return dst, nil
}

func appendLine(dst, text []byte, at time.Time, stream streamName, tag byte) []byte {
	dst = at.UTC().AppendFormat(dst, stamp)
	dst = append(dst, ' ')
	dst = append(dst, stream...)
	dst = append(dst, ' ', tag, ' ')
	dst = append(dst, text...)
	return append(dst, '\n')
}

// rotated is the name of the n-th older log.
func rotated(path string, n int) string { return path + "." + strconv.Itoa(n) }
