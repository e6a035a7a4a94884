package http1

import "errors"

// ErrChunks is that a body in chunks is not what it should be.
var ErrChunks = errors.New("malformed chunks")

// Chunks follows a body in chunks as it goes by, down to the trailers. The zero
// value is at the beginning of a body.
type Chunks struct {
	state chunkState
	left  int64 // of the chunk's data
	digit int   // of the size, so far
}

type chunkState uint8

const (
	size         chunkState = iota // the digits of a chunk's size
	blank                          // what is behind them on their line
	extension                      //
	sizeLF                         // the end of that
	data                           // what the chunk holds
	dataCR                         // the line end after it
	dataLF                         //
	lastLine                       // where a trailer may begin after the last chunk
	trailerName                    //
	trailerValue                   //
	trailerLF                      //
	lastLF                         // the end of the empty line
	afterLast                      //
)

// maxDigits keeps sizes far from where they would overflow.
const maxDigits = 15

// Next follows b, and returns how much of it belongs to the body, and whether
// the body ends there.
func (c *Chunks) Next(b []byte) (n int, done bool, err error) {
	for n < len(b) {
		if c.state == data {
			k := min(int64(len(b)-n), c.left)
			n, c.left = n+int(k), c.left-k
			if c.left == 0 {
				c.state = dataCR
			}
			continue
		}
		if !c.step(b[n]) {
			return n, false, ErrChunks
		}
		n++
		if c.state == afterLast {
			return n, true, nil
		}
	}
	return n, false, nil
}

// step follows one byte that is not data. No line may end without a carriage
// return: others have taken that for a part of the line.
func (c *Chunks) step(b byte) bool {
	switch c.state {
	case size:
		if d, ok := hex(b); ok {
			c.digit++
			c.left = c.left<<4 | d
			return c.digit <= maxDigits
		}
		return c.digit > 0 && c.behindSize(b)
	case blank:
		return c.behindSize(b)
	case extension:
		return is(b, inValue) || c.lineEnds(b, sizeLF)
	case sizeLF:
		c.state, c.digit = data, 0
		if c.left == 0 {
			c.state = lastLine
		}
		return b == '\n'
	case dataCR:
		return c.lineEnds(b, dataLF)
	case dataLF:
		c.state = size
		return b == '\n'
	case lastLine:
		c.state = trailerName
		return is(b, inToken) || c.lineEnds(b, lastLF)
	case trailerName:
		if b == ':' {
			c.state = trailerValue
			return true
		}
		return is(b, inToken)
	case trailerValue:
		return is(b, inValue) || c.lineEnds(b, trailerLF)
	case trailerLF:
		c.state = lastLine
		return b == '\n'
	case lastLF:
		c.state = afterLast
		return b == '\n'
	}
	return false
}

func (c *Chunks) behindSize(b byte) bool {
	switch b {
	case ' ', '\t':
		c.state = blank
		return true
	case ';':
		c.state = extension
		return true
	}
	return c.lineEnds(b, sizeLF)
}

func (c *Chunks) lineEnds(b byte, next chunkState) bool {
	c.state = next
	return b == '\r'
}

func hex(b byte) (int64, bool) {
	switch {
	case '0' <= b && b <= '9':
		return int64(b - '0'), true
	case 'a' <= b|0x20 && b|0x20 <= 'f':
		return int64(b|0x20-'a') + 10, true
	}
	return 0, false
}
