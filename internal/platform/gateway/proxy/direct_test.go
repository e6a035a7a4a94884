package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// script is a backend that answers with given bytes.
type script struct {
	addr   string
	answer string
	shut   bool   // after the answer
	after  string // said a moment after it
	mu     sync.Mutex
	asked  []string // what came, in a form that can be compared
}

func newScript(t *testing.T, answer string, shut bool) *script {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{addr: l.Addr().String(), answer: answer, shut: shut}
	var all sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			all.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return s
}

func (s *script) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if r.Header.Get("Expect") != "" {
			_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		body, err := io.ReadAll(r.Body)
		s.mu.Lock()
		s.asked = append(s.asked, fmt.Sprintf("%s %s Host:%s %v %d %.60q %v", r.Method, r.RequestURI, r.Host, r.Header, len(body), body, err))
		s.mu.Unlock()
		if _, err := io.WriteString(c, s.answer); err != nil || s.shut {
			return
		}
		if s.after != "" {
			time.Sleep(10 * time.Millisecond)
			_, _ = io.WriteString(c, s.after)
		}
	}
}

// take returns what has come and forgets it.
func (s *script) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

// talk sends text over a new connection in pieces and returns the answers, and
// whether the connection is open after them, in a form that can be compared.
func talk(t *testing.T, addr, text string, methods []string, piece int) []string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	go func() {
		for len(text) > 0 {
			n := min(piece, len(text))
			if _, err := io.WriteString(c, text[:n]); err != nil {
				return
			}
			if text = text[n:]; piece < 100 {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	var got []string
	in := bufio.NewReader(c)
	for _, method := range methods {
		for {
			resp, err := http.ReadResponse(in, &http.Request{Method: method})
			if err != nil {
				return append(got, "no answer")
			}
			text, whole := told(resp)
			if !whole {
				// How much of it came is up to buffers.
				return append(got, "no answer")
			}
			// Whether to send a body is answered by net/http, the backend or both.
			if resp.StatusCode != http.StatusContinue {
				got = append(got, text)
			}
			if resp.StatusCode >= 200 {
				if resp.Close {
					methods = nil
				}
				break
			}
		}
		if methods == nil {
			break
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, err = in.ReadByte()
	var timeout net.Error
	switch {
	case err == nil:
		return append(got, "something else")
	case errors.As(err, &timeout) && timeout.Timeout():
		return append(got, "open")
	}
	return append(got, "closed")
}

// told is an answer, without what is not the proxy's to say: the time, and a
// type that net/http guesses where the backend has named none.
func told(resp *http.Response) (text string, whole bool) {
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode == http.StatusBadRequest {
		err = nil // net/http leaves what it could not read, and the kernel resets
	}
	resp.Header.Del("Date")
	if resp.ContentLength == 0 {
		resp.Header.Del("Content-Length") // net/http finds out by itself, if it is in time
	}
	if resp.Header.Get("X-Typed") == "" && resp.StatusCode < 400 {
		resp.Header.Del("Content-Type")
	}
	sum := 0
	for _, b := range body {
		sum = sum*31 + int(b)
	}
	return fmt.Sprintf("%d %v close:%v trailer:%v %d %x %.200q", resp.StatusCode, resp.Header, resp.Close, resp.Trailer, len(body), sum, body), err == nil
}

func lines(all ...string) string { return strings.Join(all, "\r\n") + "\r\n\r\n" }

const hello = "HTTP/1.1 200 OK\r\nX-Typed: yes\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"

// The same requests come in by a Line and by net/http alone: clients and backend
// must not be able to tell which.
func TestRequestsMeanTheSameEitherWay(t *testing.T) {
	get := lines("GET /a?b=c HTTP/1.1", "Host: web.test", "Accept: */*")
	big := strings.Repeat("0123456789abcdef", 8000)
	for name, tt := range map[string]struct {
		text    string
		methods []string // of the requests in it; nil is one GET
		direct  bool     // it is answered without net/http
		piece   int      // bytes that are sent at once
	}{
		"a GET":                               {text: get, direct: true},
		"a GET byte by byte":                  {text: get, direct: true, piece: 1},
		"a HEAD":                              {text: strings.Replace(get, "GET", "HEAD", 1), methods: []string{"HEAD"}, direct: true},
		"an OPTIONS":                          {text: strings.Replace(get, "GET", "OPTIONS", 1), direct: true},
		"a DELETE":                            {text: strings.Replace(get, "GET", "DELETE", 1), direct: true},
		"a POST":                              {text: lines("POST / HTTP/1.1", "Host: web.test", "Content-Length: 5") + "hello", direct: true},
		"a POST in pieces":                    {text: lines("POST / HTTP/1.1", "Host: web.test", "Content-Length: 5") + "hello", direct: true, piece: 7},
		"a POST of nothing":                   {text: lines("POST / HTTP/1.1", "Host: web.test", "Content-Length: 0"), direct: true},
		"a GET with a body":                   {text: lines("GET / HTTP/1.1", "Host: web.test", "Content-Length: 5") + "hello", direct: true},
		"a PUT that is large":                 {text: lines("PUT / HTTP/1.1", "Host: web.test", "Content-Length: 128000") + big},
		"a POST in chunks":                    {text: lines("POST / HTTP/1.1", "Host: web.test", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n"},
		"a POST that asks whether to":         {text: lines("POST / HTTP/1.1", "Host: web.test", "Content-Length: 5", "Expect: 100-continue") + "hello"},
		"three at once":                       {text: get + get + get, methods: []string{"GET", "GET", "GET"}, direct: true},
		"a POST and a GET at once":            {text: lines("POST / HTTP/1.1", "Host: web.test", "Content-Length: 5") + "hello" + get, methods: []string{"POST", "GET"}, direct: true},
		"a GET and one for net/http at once":  {text: get + lines("GET /%41 HTTP/1.1", "Host: web.test"), methods: []string{"GET", "GET"}},
		"the last one":                        {text: lines("GET / HTTP/1.1", "Host: web.test", "Connection: close"), direct: true},
		"one that says what goes without":     {text: lines("GET / HTTP/1.1", "Host: web.test", "Connection: Keep-Alive", "Keep-Alive: timeout=5"), direct: true},
		"HTTP/1.0":                            {text: lines("GET / HTTP/1.0", "Host: web.test")},
		"HTTP/1.0 that keeps":                 {text: lines("GET / HTTP/1.0", "Host: web.test", "Connection: keep-alive")},
		"a whole URL":                         {text: lines("GET http://web.test/a HTTP/1.1", "Host: other.test")},
		"a star":                              {text: lines("OPTIONS * HTTP/1.1", "Host: web.test")},
		"an encoded path":                     {text: lines("GET /%e4%bd%a0/%2F HTTP/1.1", "Host: web.test")},
		"a query that is no query":            {text: lines("GET /?a=%zz;b&&\"<> HTTP/1.1", "Host: web.test"), direct: true},
		"a question without an answer":        {text: lines("GET /? HTTP/1.1", "Host: web.test"), direct: true},
		"dots and slashes":                    {text: lines("GET /a/../b//c/. HTTP/1.1", "Host: web.test"), direct: true},
		"an unusual method":                   {text: lines("PROPFIND / HTTP/1.1", "Host: web.test")},
		"a port in the Host":                  {text: lines("GET / HTTP/1.1", "Host: WEB.test:8080"), direct: true},
		"fields said before":                  {text: lines("GET / HTTP/1.1", "Host: web.test", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "x-forwarded-host: evil.test", "X-Forwarded-Port: 1", "X-Real-Ip: 192.0.2.1", "Forwarded: for=192.0.2.1"), direct: true},
		"fields that Connection names":        {text: lines("GET / HTTP/1.1", "Host: web.test", "Connection: X-Secret", "X-Secret: 1")},
		"fields between proxies":              {text: lines("GET / HTTP/1.1", "Host: web.test", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic YTpi", "TE: trailers", "Trailer: A")},
		"fields twice":                        {text: lines("GET / HTTP/1.1", "Host: web.test", "Cookie: a=1", "Cookie: b=2", "x-lower-CASE:   blanks \t"), direct: true},
		"letters beyond ASCII":                {text: lines("GET / HTTP/1.1", "Host: web.test", "X-Name: \xe4\xbd\xa0"), direct: true},
		"a large head":                        {text: lines("GET / HTTP/1.1", "Host: web.test", "Cookie: "+big[:20000])},
		"as much as there is room for":        {text: lines("GET / HTTP/1.1", "Host: web.test", "Cookie: "+big[:8100])},
		"many fields":                         {text: lines("GET / HTTP/1.1", "Host: web.test", strings.TrimSuffix(strings.Repeat("A: b\r\n", 100), "\r\n"))},
		"no Host":                             {text: lines("GET / HTTP/1.1", "A: b")},
		"two Hosts":                           {text: lines("GET / HTTP/1.1", "Host: web.test", "Host: other.test")},
		"two lengths":                         {text: lines("POST / HTTP/1.1", "Host: web.test", "Content-Length: 5", "Content-Length: 4") + "hello"},
		"a length and chunks":                 {text: lines("POST / HTTP/1.1", "Host: web.test", "Content-Length: 5", "Transfer-Encoding: chunked") + "0\r\n\r\n"},
		"a space before the colon":            {text: lines("GET / HTTP/1.1", "Host: web.test", "A : b")},
		"a line that goes on":                 {text: lines("GET / HTTP/1.1", "Host: web.test", "A: b", " c")},
		"bare line feeds":                     {text: "GET / HTTP/1.1\nHost: web.test\n\n"},
		"a bare carriage return":              {text: lines("GET / HTTP/1.1", "Host: web.test", "A: b\rc")},
		"a NUL":                               {text: lines("GET / HTTP/1.1", "Host: web.test", "A: b\x00c")},
		"line ends in front":                  {text: "\r\n" + get},
		"another protocol":                    {text: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + lines("")},
		"a name that nobody serves":           {text: lines("GET / HTTP/1.1", "Host: nobody.test")},
		"an upgrade that is not":              {text: lines("GET / HTTP/1.1", "Host: web.test", "Connection: Upgrade", "Upgrade: websocket")},
		"an encoding that hides another":      {text: lines("POST / HTTP/1.1", "Host: web.test", "Transfer-Encoding: xchunked", "Content-Length: 5") + "hello"},
		"what hides behind a whole request":   {text: lines("POST / HTTP/1.1", "Host: web.test", "Content-Length: 42") + lines("GET /hidden HTTP/1.1", "Host: web.test") + "12", direct: true},
		"a body that never comes in full":     {text: lines("POST / HTTP/1.1", "Host: web.test", "Content-Length: +5") + "hello"},
		"a head that ends without its Fields": {text: "GET / HTTP/1.1\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, Config{})
			backend := newScript(t, hello, false)
			p := b.service("web", upstream.HTTP1, backend.addr)
			table, _ := route.Build([]route.Listener{{Port: b.port, Routes: []*route.Route{{
				Name: "HTTPRoute shop/web", Hosts: []string{"web.test"}, Rules: []*route.Rule{{Matches: []route.Match{{}}, Backends: to(p)}},
			}}}})
			b.Swap(table)
			if tt.methods == nil {
				tt.methods = []string{"GET"}
			}
			if tt.piece == 0 {
				tt.piece = 1 << 20
			}
			wantTold := talk(t, b.standard, tt.text, tt.methods, tt.piece)
			wantAsked := backend.take()
			gotTold := talk(t, b.addr, tt.text, tt.methods, tt.piece)
			gotAsked := backend.take()
			if !reflect.DeepEqual(gotTold, wantTold) {
				t.Errorf("the client sees\n%s\nand of net/http\n%s", strings.Join(gotTold, "\n"), strings.Join(wantTold, "\n"))
			}
			if !reflect.DeepEqual(gotAsked, wantAsked) {
				t.Errorf("the backend sees\n%s\nand of net/http\n%s", strings.Join(gotAsked, "\n"), strings.Join(wantAsked, "\n"))
			}
			if direct := b.left.Load() == 0; direct != tt.direct {
				t.Errorf("answered without net/http: %v; want %v", direct, tt.direct)
			}
			waitFor(t, "nothing in flight", func() bool { return p.Service.Stats.InFlight.Load() == 0 && p.Endpoints()[0].InFlight() == 0 })
		})
	}
}

// What backends write comes to clients the same way.
func TestAnswersMeanTheSameEitherWay(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 20000)
	chunked := func(rest string) string { return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + rest }
	for name, tt := range map[string]struct {
		answer string
		shut   bool
		head   bool // asked for by HEAD
	}{
		"a length":                      {answer: hello},
		"nothing":                       {answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		"chunks":                        {answer: chunked("5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n")},
		"chunks with extensions":        {answer: chunked("5;a=b\r\nhello\r\n0;c\r\n\r\n")},
		"large chunks":                  {answer: chunked("4e200\r\n" + big + "\r\n0\r\n\r\n")},
		"many chunks":                   {answer: chunked(strings.Repeat("10\r\n0123456789abcdef\r\n", 5000) + "0\r\n\r\n")},
		"chunks that end early":         {answer: chunked("5\r\nhel"), shut: true},
		"no chunks at all":              {answer: chunked("hello"), shut: true},
		"until the end":                 {answer: "HTTP/1.1 200 OK\r\n\r\nhello", shut: true},
		"much until the end":            {answer: "HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n" + big, shut: true},
		"nothing until the end":         {answer: "HTTP/1.1 200 OK\r\n\r\n", shut: true},
		"a trailer":                     {answer: "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"},
		"a large body":                  {answer: "HTTP/1.1 200 OK\r\nContent-Length: 320000\r\n\r\n" + big},
		"a body of some size":           {answer: "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + big[:20000]},
		"a body that fills the room":    {answer: "HTTP/1.1 200 OK\r\nContent-Length: 8100\r\n\r\n" + big[:8100]},
		"a body that ends early":        {answer: "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", shut: true},
		"a large one that ends early":   {answer: "HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + big, shut: true},
		"to HEAD":                       {answer: "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", head: true},
		"to HEAD in chunks":             {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", head: true},
		"no content":                    {answer: "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n"},
		"not modified":                  {answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nEtag: \"a\"\r\n\r\n"},
		"a hint before":                 {answer: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + hello},
		"a redirect":                    {answer: "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"},
		"an error":                      {answer: "HTTP/1.1 503 Service Unavailable\r\nContent-Type: a/b\r\nContent-Length: 4\r\n\r\nbusy"},
		"a strange status":              {answer: "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n"},
		"no reason":                     {answer: "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"},
		"HTTP/1.0":                      {answer: "HTTP/1.0 200 OK\r\nX-A: b\r\n\r\nhello", shut: true},
		"HTTP/1.0 with a length":        {answer: "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", shut: true},
		"about the connection":          {answer: "HTTP/1.1 200 OK\r\nConnection: X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"},
		"keeping and closing":           {answer: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", shut: true},
		"keeping":                       {answer: "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 5\r\n\r\nhello"},
		"bare line feeds":               {answer: "HTTP/1.1 200 OK\nContent-Length: 5\nX-A: b\n\nhello"},
		"a line that goes on":           {answer: "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 5\r\n\r\nhello"},
		"the same length twice":         {answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"},
		"two lengths":                   {answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", shut: true},
		"a length and chunks":           {answer: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		"a large head":                  {answer: "HTTP/1.1 200 OK\r\nX-A: " + big[:30000] + "\r\nContent-Length: 5\r\n\r\nhello"},
		"as large as there is room for": {answer: "HTTP/1.1 200 OK\r\nX-A: " + big[:8090] + "\r\nContent-Length: 5\r\n\r\nhello"},
		"many fields":                   {answer: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: b\r\n", 100) + "Content-Length: 5\r\n\r\nhello"},
		"no HTTP":                       {answer: "220 mail.test ESMTP\r\n\r\n", shut: true},
		"nothing at all":                {answer: "", shut: true},
		"half a head":                   {answer: "HTTP/1.1 200 OK\r\nContent-Le", shut: true},
		"another protocol unasked":      {answer: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n", shut: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, Config{})
			backend := newScript(t, tt.answer, tt.shut)
			p := b.service("web", upstream.HTTP1, backend.addr)
			b.rule(&route.Rule{Backends: to(p)})
			// Not to be repeated, so that each way asks once.
			text, methods := lines("DELETE / HTTP/1.1", "Host: web.test"), []string{"DELETE"}
			if tt.head {
				text, methods = lines("HEAD / HTTP/1.1", "Host: web.test"), []string{"HEAD"}
			}
			text, methods = text+text, append(methods, methods...)
			want := talk(t, b.standard, text, methods, 1<<20)
			before := p.Service.Stats.Snapshot()
			got := talk(t, b.addr, text, methods, 1<<20)
			after := p.Service.Stats.Snapshot()
			if !reflect.DeepEqual(got, want) {
				t.Errorf("the client sees\n%s\nand of net/http\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if b.left.Load() != 0 {
				t.Error("net/http had to answer")
			}
			if after.Requests != 2*before.Requests || after.Failures != 2*before.Failures {
				t.Errorf("counters went from %+v to %+v; want the same once more", before, after)
			}
		})
	}
}
