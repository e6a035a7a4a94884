package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/http1"
)

// spliceFrom is the length from which a body is left to the kernel.
const spliceFrom = 64 << 10

// answer sends what the backend answers on to the client. It tells whether the
// connection to the backend can take another request.
func (s *sending) answer() (v verdict, kept bool) {
	resp := &s.l.desk.resp
	var head int
	for {
		for head = http1.End(s.in[:s.have]); head < 0 && s.have < len(s.in) && !http1.Doubtful(s.in[:s.have]); head = http1.End(s.in[:s.have]) {
			n, err := s.l.wait(s.up, s.in[s.have:], time.Now())
			if err != nil {
				return s.broken(err), false
			}
			s.have += n
		}
		if head < 0 || head+roomForOurs > len(s.l.desk.out) || !resp.Read(s.in[:head]) {
			return s.carefully(), false
		}
		if resp.Status >= 200 {
			break
		}
		if _, err := s.l.conn.Write(s.composeHead(false, false)); err != nil {
			return end, false
		}
		s.have = copy(s.in, s.in[head:s.have])
	}
	s.count(resp.Status)
	v, kept = s.sendBody(s.in[head:s.have])
	return v, kept && !resp.Close
}

// roomForOurs is what is added to a head at most.
const roomForOurs = 128

// composeHead writes the head of an answer as the client is to see it.
func (s *sending) composeHead(body, final bool) []byte {
	resp := &s.l.desk.resp
	out := append(s.l.desk.out[:0], resp.Line...)
	for i := range resp.Fields {
		f := &resp.Fields[i]
		// An answer that can have no body must not seem to have one. That to HEAD
		// tells how long it would be.
		if f.HopByHop() || !body && (f.Chunked() || f.Sized() && !s.head) {
			continue
		}
		out = append(out, f.Line...)
	}
	if final {
		if !resp.Dated {
			out = s.l.p.date.appendTo(out, s.now)
		}
		if body && !resp.Chunked && resp.Length < 0 {
			out = append(out, "Transfer-Encoding: chunked\r\n"...)
		}
		if s.last {
			out = append(out, "Connection: close\r\n"...)
		}
	}
	return append(out, "\r\n"...)
}

// sendBody sends head and body on, some of which is at hand.
func (s *sending) sendBody(some []byte) (v verdict, kept bool) {
	resp := &s.l.desk.resp
	method := http.MethodGet
	if s.head {
		method = http.MethodHead
	}
	body := resp.HasBody(method)
	out := s.composeHead(body, true)
	switch {
	case !body:
		_, err := s.l.conn.Write(out)
		return after(err), len(some) == 0
	case resp.Chunked:
		return s.sendChunks(out, some)
	case resp.Length >= 0:
		return s.sendLength(out, some)
	}
	return s.sendUntilEnd(out, some), false
}

// sendLength sends a body of known length. What comes beyond it belongs to no
// answer, and such a connection is not to be trusted.
func (s *sending) sendLength(out, some []byte) (v verdict, kept bool) {
	left := s.l.desk.resp.Length
	kept = int64(len(some)) <= left
	some = some[:min(int64(len(some)), left)]
	left -= int64(len(some))
	if err := s.write(out, some); err != nil {
		return end, false
	}
	if left >= spliceFrom {
		s.l.watchFor(s.up)
		n, err := s.l.conn.ReadFrom(io.LimitReader(s.up.TCPConn, left))
		if err != nil || n < left {
			return end, false
		}
		return next, kept
	}
	for left > 0 {
		n, err := s.l.wait(s.up, s.in, time.Now())
		if err != nil {
			return end, false
		}
		kept = kept && int64(n) <= left
		n = int(min(int64(n), left))
		left -= int64(n)
		if _, err := s.l.conn.Write(s.in[:n]); err != nil {
			return end, false
		}
	}
	return next, kept
}

// sendChunks sends a body in chunks as they are.
func (s *sending) sendChunks(out, some []byte) (v verdict, kept bool) {
	var chunks http1.Chunks
	for {
		n, done, err := chunks.Next(some)
		if err != nil {
			return end, false
		}
		if err := s.write(out, some[:n]); err != nil {
			return end, false
		}
		if done {
			return next, n == len(some)
		}
		got, err := s.l.wait(s.up, s.in, time.Now())
		if err != nil {
			return end, false
		}
		out, some = nil, s.in[:got]
	}
}

// sendUntilEnd sends a body that ends with the connection to the backend, in
// chunks, since the client's is to stay.
func (s *sending) sendUntilEnd(out, some []byte) verdict {
	const line = 20 // for a size
	in := s.in[:len(s.in)-line-2]
	for {
		if len(some) > 0 {
			if len(out)+len(some)+line > cap(out) {
				if _, err := s.l.conn.Write(out); err != nil {
					return end
				}
				out = out[:0]
			}
			out = append(strconv.AppendInt(out, int64(len(some)), 16), "\r\n"...)
			out = append(append(out, some...), "\r\n"...)
		}
		if _, err := s.l.conn.Write(out); err != nil {
			return end
		}
		n, err := s.l.wait(s.up, in, time.Now())
		switch {
		case err == io.EOF:
			_, err = s.l.conn.Write([]byte("0\r\n\r\n"))
			return after(err)
		case err != nil:
			return end
		}
		out, some = s.l.desk.out[:0], in[:n]
	}
}

// write writes both, at once.
func (s *sending) write(out, some []byte) error {
	if len(out) == 0 || len(some) <= cap(out)-len(out) {
		if len(out) > 0 {
			some = append(out, some...)
		}
		_, err := s.l.conn.Write(some)
		return err
	}
	both := net.Buffers{out, some}
	_, err := both.WriteTo(s.l.conn.TCPConn)
	return err
}

// after is what follows an answer, by whether it could be sent.
func after(err error) verdict {
	if err != nil {
		return end
	}
	return next
}

// broken answers when the backend's answer has not become whole.
func (s *sending) broken(err error) verdict {
	if s.l.clientGone() {
		return end
	}
	return s.refuse(err)
}

// carefully reads an answer by net/http, which knows all that servers write.
func (s *sending) carefully() verdict {
	asked := &http.Request{Method: http.MethodGet}
	if s.head {
		asked.Method = http.MethodHead
	}
	begun := bytes.NewReader(bytes.Clone(s.in[:s.have]))
	in := bufio.NewReader(io.MultiReader(begun, readerFunc(func(b []byte) (int, error) { return s.l.wait(s.up, b, time.Now()) })))
	resp, err := http.ReadResponse(in, asked)
	for err == nil && resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
		resp, err = http.ReadResponse(in, asked)
	}
	if err == nil && resp.StatusCode == http.StatusSwitchingProtocols {
		err = errSwitched
	}
	if err != nil {
		return s.broken(err)
	}
	s.count(resp.StatusCode)
	for _, line := range resp.Header["Connection"] {
		for _, name := range strings.Split(line, ",") {
			resp.Header.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Upgrade"} {
		resp.Header.Del(name)
	}
	if resp.Header.Get("Date") == "" {
		resp.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	if resp.ContentLength < 0 && !s.head {
		resp.TransferEncoding = []string{"chunked"}
	}
	resp.ProtoMajor, resp.ProtoMinor, resp.Close = 1, 1, s.last
	return after(resp.Write(s.l.conn.TCPConn))
}

var errSwitched = errors.New("the backend changed the protocol unasked")

type readerFunc func(b []byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
