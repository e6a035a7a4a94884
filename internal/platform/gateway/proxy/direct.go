package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/http1"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/tcp"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// verdict is what becomes of a Line after a request.
type verdict int

const (
	next  verdict = iota // it was answered, and another may come
	end                  // there is nothing more to come
	doubt                // net/http has to see to it; nothing of it has been sent
)

// wellKnown is where a public authority asks whose a name is (RFC 8555), which
// Caddy answers.
const wellKnown = "/.well-known/"

// exchange reads a request, of which some has come, and answers it.
func (l *Line) exchange() verdict {
	head, v := l.readRequest()
	if v != next {
		return v
	}
	req := &l.desk.req
	found, ok := l.p.table.Load().Find(l.port, route.Request{Method: req.Method, Host: req.Host, Path: req.Path, Query: req.Query, Headers: req})
	if !ok || !found.Plain() || strings.HasPrefix(req.Path, wellKnown) || req.Vouch && l.p.trusted(l.client) {
		return doubt
	}
	b := byWeight(found.Backends, rand.IntN)
	if b == nil || b.Port == nil || b.Filters != nil || b.Port.Protocol != upstream.HTTP1 {
		return doubt
	}
	size := head + int(req.Length)
	text, ok := l.compose(head, l.desk.in[head:size])
	if !ok {
		return doubt
	}
	// From here on the request's words must not be looked at: the answer is read
	// to where they are.
	last := req.Close || l.draining.Load()
	s := &l.desk.sending
	*s = sending{l: l, backend: b.Port, route: found.Route, text: text, last: last, rest: size < l.have,
		again: req.Length == 0 && repeatable(req.Method), head: req.Method == http.MethodHead}
	v = s.send()
	if v != doubt {
		// What was behind the request is the beginning of the next.
		l.have = copy(l.desk.in[:], l.desk.in[size:l.have])
	}
	if v == next && last {
		return end
	}
	return v
}

// readRequest reads until there is a whole request. Bodies that are longer than
// what is at hand stream both ways at once, which is for net/http to do.
func (l *Line) readRequest() (head int, v verdict) {
	for head = http1.End(l.desk.in[:l.have]); head < 0; head = http1.End(l.desk.in[:l.have]) {
		if http1.Doubtful(l.desk.in[:l.have]) {
			return 0, doubt
		}
		if ok, err := l.more(); err != nil {
			return 0, end
		} else if !ok {
			return 0, doubt
		}
	}
	if !l.desk.req.Read(l.desk.in[:head]) || l.desk.req.Length > int64(len(l.desk.in)-head) {
		return 0, doubt
	}
	for l.have < head+int(l.desk.req.Length) {
		if ok, err := l.more(); err != nil {
			return 0, end
		} else if !ok {
			return 0, doubt
		}
	}
	return head, next
}

// compose writes the request, whose head has that size, as the backend is to see
// it. It returns false when there is not enough room.
func (l *Line) compose(head int, body []byte) ([]byte, bool) {
	req := &l.desk.req
	if head+len(body)+len(l.about())+len(req.Host)+4 > len(l.desk.out) {
		return nil, false
	}
	out := l.desk.out[:0]
	out = append(out, req.Method...)
	out = append(out, ' ')
	out = append(out, req.Target...)
	out = append(out, " HTTP/1.1\r\n"...)
	for i := range req.Fields {
		if f := &req.Fields[i]; !f.HopByHop() && !f.Said() {
			out = append(out, f.Line...)
		}
	}
	out = append(out, l.about()...)
	out = append(out, req.Host...)
	out = append(out, "\r\n\r\n"...)
	return append(out, body...), true
}

func repeatable(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return false
}

// sending is one request on its way to a backend.
type sending struct {
	l       *Line
	backend *upstream.Port
	route   *route.Route
	text    []byte // in desk.out
	last    bool   // the client's connection ends with this answer
	rest    bool   // desk.in holds more than the request
	again   bool   // it may be sent once more
	head    bool   // it asks for no body

	endpoint *upstream.Endpoint
	up       *tcp.Conn
	began    time.Time // when it was first sent
	now      time.Time // about; asking costs as much as parsing a head
	in       []byte    // of the answer
	have     int       // bytes in it
}

// send sends the request and answers it. Until something has come back, trouble
// with a request that can be repeated is not ours to deal with.
func (s *sending) send() verdict {
	stats := &s.backend.Service.Stats
	stats.InFlight.Add(1)
	defer stats.InFlight.Add(-1)
	s.began = time.Now()
	s.now = s.began
	if s.endpoint = s.backend.Pick(rand.IntN, nil); s.endpoint == nil {
		return doubt
	}
	s.endpoint.Begin()
	defer s.endpoint.Done()
	s.in = s.l.desk.in[:]
	if s.rest {
		spare := s.l.p.desks.Get().(*desk)
		defer s.l.p.desks.Put(spare)
		s.in = spare.in[:]
	}
	err := s.begin()
	if err == nil {
		v, kept := s.answer()
		s.l.stopWatching() // before the connection is anybody else's
		if kept {
			s.endpoint.Keep(s.up, s.now)
		} else {
			s.up.Close()
		}
		return v
	}
	gone := s.l.clientGone()
	s.l.stopWatching()
	if s.up != nil {
		s.up.Close()
	}
	switch {
	case gone:
		return end
	case s.up == nil, s.again:
		return doubt
	}
	return s.refuse(err)
}

// begin sends the request until something comes back. A connection that was kept
// may have been closed by now: then it is tried with another. One on which
// something has come unasked is not used at all, since the next to ask would take
// that for the answer.
func (s *sending) begin() error {
	for {
		kept := true
		if s.up = s.endpoint.Take(); s.up == nil {
			var err error
			if s.up, err = s.endpoint.Dial(); err != nil {
				s.up = nil
				return err
			}
			kept = false
		}
		if kept && !s.up.Quiet() {
			s.up.Close()
			continue
		}
		_, err := s.up.Write(s.text)
		if err == nil {
			// Others have work while the backend thinks. When their turns are over
			// the answer is often there, and is read without having waited for it.
			runtime.Gosched()
			s.have, err = s.l.wait(s.up, s.in, s.now)
		}
		if err == nil {
			return nil
		}
		if !kept || !s.again || s.l.clientGone() {
			return err
		}
		s.l.stopWatching()
		s.up.Close()
	}
}

// count counts the answer.
func (s *sending) count(status int) {
	s.now = time.Now()
	s.l.now = s.now
	s.backend.Service.Stats.Answered(s.now.Sub(s.began), status >= 500)
}

// refuse answers in the place of a backend that did not.
func (s *sending) refuse(err error) verdict {
	code := http.StatusBadGateway
	s.count(code)
	s.l.p.log.Debug("request failed", "route", s.route.Name, "service", s.backend.Service.Key, "status", code, "err", err)
	text := refusal(code, s.backend.Service.Key+": "+explain(err))
	out := fmt.Appendf(s.l.desk.out[:0], "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nX-Content-Type-Options: nosniff\r\nContent-Length: %d\r\n",
		code, http.StatusText(code), plainText, len(text))
	if s.last {
		out = append(out, "Connection: close\r\n"...)
	}
	out = append(s.l.p.date.appendTo(out, s.now), "\r\n"...)
	if s.head {
		text = ""
	}
	if _, err := s.l.conn.Write(append(out, text...)); err != nil {
		return end
	}
	return next
}
