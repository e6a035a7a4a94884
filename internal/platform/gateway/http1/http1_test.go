package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
)

// crlf writes a head with its line ends.
func crlf(lines ...string) []byte { return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n") }

func TestRequestsThatLeaveNoDoubt(t *testing.T) {
	var r Request
	head := crlf("POST /a/b?c=%20d HTTP/1.1", "Host: web.test:8080", "content-length:  12 ", "Connection: Close", "X-Forwarded-For: 192.0.2.1", "X-Empty:", "Accept: a", "accept: b")
	if !r.Read(head) {
		t.Fatalf("Read(%q) = false", head)
	}
	if r.Method != "POST" || r.Target != "/a/b?c=%20d" || r.Path != "/a/b" || r.Query != "c=%20d" || r.Host != "web.test:8080" || r.Length != 12 || !r.Close || !r.Vouch {
		t.Errorf("Read(%q) = %+v", head, r)
	}
	if v, ok := r.Header("Accept"); v != "a,b" || !ok {
		t.Errorf("Header(Accept) = %q, %v; want both", v, ok)
	}
	if _, ok := r.Header("Cookie"); ok {
		t.Error("Header(Cookie) was found")
	}
}

// Each of these has been used to make two servers see two different requests, or
// is something that only net/http deals with.
var doubtfulRequests = map[string][]byte{
	"no Host":                          crlf("GET / HTTP/1.1", "A: b"),
	"two Hosts":                        crlf("GET / HTTP/1.1", "Host: a", "Host: a"),
	"an empty Host":                    crlf("GET / HTTP/1.1", "Host:"),
	"a Host with a path":               crlf("GET / HTTP/1.1", "Host: a/b"),
	"two lengths":                      crlf("POST / HTTP/1.1", "Host: a", "Content-Length: 1", "Content-Length: 1"),
	"a list of lengths":                crlf("POST / HTTP/1.1", "Host: a", "Content-Length: 1, 1"),
	"a length with a sign":             crlf("POST / HTTP/1.1", "Host: a", "Content-Length: +1"),
	"a length that overflows":          crlf("POST / HTTP/1.1", "Host: a", "Content-Length: 18446744073709551617"),
	"an empty length":                  crlf("POST / HTTP/1.1", "Host: a", "Content-Length:"),
	"an encoding":                      crlf("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"),
	"an encoding and a length":         crlf("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "Transfer-Encoding: chunked"),
	"a space before the colon":         crlf("POST / HTTP/1.1", "Host: a", "Content-Length : 5"),
	"a line that goes on":              crlf("GET / HTTP/1.1", "Host: a", "A: b", " c"),
	"a first line that begins blank":   crlf("GET / HTTP/1.1", " A: b", "Host: a"),
	"a bare line feed":                 []byte("GET / HTTP/1.1\r\nHost: a\nA: b\r\n\r\n"),
	"a bare carriage return":           []byte("GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n"),
	"a NUL":                            []byte("GET / HTTP/1.1\r\nHost: a\r\nA: b\x00c\r\n\r\n"),
	"a name with a control character":  []byte("GET / HTTP/1.1\r\nHost: a\r\nA\x01: b\r\n\r\n"),
	"a line without a colon":           crlf("GET / HTTP/1.1", "Host: a", "A"),
	"a line without a name":            crlf("GET / HTTP/1.1", "Host: a", ": b"),
	"HTTP/1.0":                         crlf("GET / HTTP/1.0", "Host: a"),
	"no version":                       crlf("GET /", "Host: a"),
	"a whole URL":                      crlf("GET http://a/ HTTP/1.1", "Host: a"),
	"a star":                           crlf("OPTIONS * HTTP/1.1", "Host: a"),
	"a tunnel":                         crlf("CONNECT a:80 HTTP/1.1", "Host: a"),
	"a path that looks like a host":    crlf("GET //b/ HTTP/1.1", "Host: a"),
	"an encoded path":                  crlf("GET /a%2fb HTTP/1.1", "Host: a"),
	"a fragment":                       crlf("GET /a?b#c HTTP/1.1", "Host: a"),
	"a space in the path":              crlf("GET /a b HTTP/1.1", "Host: a"),
	"two spaces":                       crlf("GET  / HTTP/1.1", "Host: a"),
	"an upgrade":                       crlf("GET / HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket"),
	"an upgrade without a Connection":  crlf("GET / HTTP/1.1", "Host: a", "Upgrade: h2c"),
	"fields named by Connection":       crlf("GET / HTTP/1.1", "Host: a", "Connection: close, X-Real-Ip"),
	"an expectation":                   crlf("POST / HTTP/1.1", "Host: a", "Content-Length: 1", "Expect: 100-continue"),
	"trailers":                         crlf("GET / HTTP/1.1", "Host: a", "TE: trailers"),
	"a password for a proxy":           crlf("GET / HTTP/1.1", "Host: a", "Proxy-Authorization: Basic YTpi"),
	"the beginning of HTTP/2":          []byte("PRI * HTTP/2.0\r\n\r\n"),
	"the beginning of TLS":             []byte("\x16\x03\x01\x02\x00\x01\r\n\r\n"),
	"more fields than anybody sends":   crlf("GET / HTTP/1.1", "Host: a", strings.TrimSuffix(strings.Repeat("A: b\r\n", MaxFields), "\r\n")),
	"a method that we do not know":     crlf("PROPFIND / HTTP/1.1", "Host: a"),
	"a method in lower case":           crlf("get / HTTP/1.1", "Host: a"),
	"a line end in front of it":        []byte("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
	"something behind the head's end":  []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"),
	"a Connection without a value":     crlf("GET / HTTP/1.1", "Host: a", "Connection:"),
	"Connection twice":                 crlf("GET / HTTP/1.1", "Host: a", "Connection: close", "Connection: keep-alive"),
	"a field of proxies that are gone": crlf("GET / HTTP/1.1", "Host: a", "Proxy-Connection: keep-alive"),
}

func TestDoubtfulRequestsAreRefused(t *testing.T) {
	for name, head := range doubtfulRequests {
		t.Run(name, func(t *testing.T) {
			var r Request
			if r.Read(head) {
				t.Errorf("Read(%q) = %+v; want it refused", head, r)
			}
		})
	}
}

func TestWhatCannotBecomeAHead(t *testing.T) {
	for text, want := range map[string]bool{
		"":                          false,
		"G":                         false,
		"GET / HTTP/1.1\r\nHost: a": false,
		"GET / HTTP/1.1\r":          false,
		"GET / HTTP/1.1\nHost":      true,
		"GET / HTTP/1.1\r\n\n":      true,
		"\r\nGET":                   true,
		"\n":                        true,
		"\x16\x03\x01":              true,
	} {
		if got := Doubtful([]byte(text)); got != want {
			t.Errorf("Doubtful(%q) = %v; want %v", text, got, want)
		}
	}
}

func TestResponses(t *testing.T) {
	for name, tt := range map[string]struct {
		head []byte
		want bool
	}{
		"a length":                {crlf("HTTP/1.1 200 OK", "Content-Length: 5"), true},
		"chunks":                  {crlf("HTTP/1.1 200 OK", "Transfer-Encoding: Chunked"), true},
		"neither":                 {crlf("HTTP/1.1 200 OK"), true},
		"no reason":               {crlf("HTTP/1.1 404"), true},
		"a strange reason":        {crlf("HTTP/1.1 299 \xe4\xbd\xa0"), true},
		"two lengths":             {crlf("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 5"), false},
		"a length and chunks":     {crlf("HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked"), false},
		"another encoding":        {crlf("HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked"), false},
		"an upgrade":              {crlf("HTTP/1.1 101 Switching Protocols", "Upgrade: a"), false},
		"a bare 101":              {crlf("HTTP/1.1 101 Switching Protocols"), false},
		"trailers to come":        {crlf("HTTP/1.1 200 OK", "Trailer: A", "Transfer-Encoding: chunked"), false},
		"HTTP/1.0":                {crlf("HTTP/1.0 200 OK"), false},
		"a status of four digits": {crlf("HTTP/1.1 2000 OK"), false},
		"a status below all":      {crlf("HTTP/1.1 099 OK"), false},
		"a bare line feed":        {[]byte("HTTP/1.1 200 OK\nA: b\r\n\r\n"), false},
		"a line that goes on":     {crlf("HTTP/1.1 200 OK", "A: b", " c"), false},
	} {
		t.Run(name, func(t *testing.T) {
			var r Response
			if got := r.Read(tt.head); got != tt.want {
				t.Errorf("Read(%q) = %v; want %v", tt.head, got, tt.want)
			}
		})
	}
}

func TestBodiesOfResponses(t *testing.T) {
	for _, tt := range []struct {
		method string
		status int
		want   bool
	}{{"GET", 200, true}, {"HEAD", 200, false}, {"GET", 204, false}, {"GET", 304, false}, {"GET", 103, false}, {"POST", 404, true}} {
		r := Response{Status: tt.status}
		if got := r.HasBody(tt.method); got != tt.want {
			t.Errorf("HasBody of %d to %s = %v; want %v", tt.status, tt.method, got, tt.want)
		}
	}
}

func TestChunksEndWhereTheyEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		end  int // -1 is none, -2 an error
	}{
		"one chunk":                     {"5\r\nhello\r\n0\r\n\r\nnext", 15},
		"sizes in hexadecimal":          {"0a\r\n0123456789\r\n00\r\n\r\n", 22},
		"nothing":                       {"0\r\n\r\n", 5},
		"an extension":                  {"5;a=b\r\nhello\r\n0\r\n\r\n", 19},
		"a trailer":                     {"0\r\nA: b\r\nC:\r\n\r\nnext", 15},
		"not the end yet":               {"5\r\nhello\r\n0\r\n", -1},
		"blanks behind the size":        {"1  ;a\r\nb\r\n0 \r\n\r\n", 16},
		"digits behind a blank":         {"1 0\r\nb\r\n0\r\n\r\n", -2},
		"no size":                       {"\r\nhello", -2},
		"a size with a sign":            {"+5\r\nhello", -2},
		"a size that overflows":         {"10000000000000005\r\nhello", -2},
		"a bare line feed":              {"5\nhello\r\n0\r\n\r\n", -2},
		"a line feed in an extension":   {"5;a\nb\r\nhello", -2},
		"more data than was said":       {"5\r\nhello!\r\n", -2},
		"a trailer without a name":      {"0\r\n: b\r\n\r\n", -2},
		"a trailer with a bare return":  {"0\r\nA: b\rc\r\n\r\n", -2},
		"a trailer that is none at all": {"0\r\nGET / HTTP/1.1\r\n\r\n", -2},
	} {
		t.Run(name, func(t *testing.T) {
			for step := 1; step <= len(tt.text); step++ { // however it is cut
				if got := follow(tt.text, step); got != tt.end {
					t.Fatalf("%q in pieces of %d ends at %d; want %d", tt.text, step, got, tt.end)
				}
			}
		})
	}
}

// follow returns where a body in chunks ends, when it comes in pieces.
func follow(text string, step int) int {
	var c Chunks
	for at := 0; at < len(text); at += step {
		piece := text[at:min(at+step, len(text))]
		n, done, err := c.Next([]byte(piece))
		switch {
		case err != nil:
			return -2
		case done:
			return at + n
		case n != len(piece):
			return -3
		}
	}
	return -1
}

// What is read here, net/http must read too, and the same.
func FuzzRequest(f *testing.F) {
	f.Add(crlf("GET / HTTP/1.1", "Host: a"))
	f.Add(crlf("POST /a/b?c=%20d HTTP/1.1", "Host: web.test:8080", "content-length:  12 ", "Connection: Close", "X-Empty:", "Accept: a", "accept: b"))
	for _, head := range doubtfulRequests {
		f.Add(head)
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		var r Request
		if !r.Read(head) {
			return
		}
		in := bufio.NewReader(bytes.NewReader(head))
		std, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("read %q, and net/http does not: %v", head, err)
		}
		if in.Buffered() > 0 {
			t.Fatalf("read %q, and net/http leaves %d bytes of it", head, in.Buffered())
		}
		if r.Method != std.Method || r.Target != std.RequestURI || r.Path != std.URL.Path || r.Query != std.URL.RawQuery || r.Target != std.URL.RequestURI() && !strings.HasSuffix(r.Target, "?") || r.Host != std.Host || r.Close != std.Close {
			t.Fatalf("%q is read as %+v, by net/http as %+v", head, r, std)
		}
		if r.Length != std.ContentLength {
			t.Fatalf("%q has a length of %d, to net/http %d", head, r.Length, std.ContentLength)
		}
		lines := 0
		for _, f := range r.Fields {
			if len(std.Header.Values(f.Name)) == 0 && !f.IsHost() {
				t.Fatalf("%q has a field %q, to net/http not", head, f.Name)
			}
			lines += len(f.Line)
			if v, ok := r.Header(http.CanonicalHeaderKey(f.Name)); !ok || !f.IsHost() && v != strings.Join(std.Header.Values(f.Name), ",") {
				t.Fatalf("%q: field %s is %q, to net/http %q", head, f.Name, v, std.Header.Values(f.Name))
			}
		}
	})
}

func FuzzResponse(f *testing.F) {
	f.Add(crlf("HTTP/1.1 200 OK", "Content-Length: 5", "Date: now"))
	f.Add(crlf("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Connection: close"))
	f.Add(crlf("HTTP/1.1 204 No Content", "Keep-Alive: timeout=5"))
	f.Fuzz(func(t *testing.T, head []byte) {
		var r Response
		if !r.Read(head) {
			return
		}
		std, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
		if err != nil {
			t.Fatalf("read %q, and net/http does not: %v", head, err)
		}
		if r.Status != std.StatusCode || r.Chunked != (len(std.TransferEncoding) > 0) && r.HasBody("GET") || r.Length >= 0 && r.HasBody("GET") && r.Length != std.ContentLength {
			t.Fatalf("%q is read as %+v, by net/http as %+v", head, r, std)
		}
	})
}

// A body that ends here must end there for net/http, and hold the same.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\n"), 3)
	f.Add([]byte("A 0\r\n0000000000\r\n0\r\n\r\n"), 22)
	f.Add([]byte("a;b=c\r\n0123456789\r\n0\r\nA: b\r\n\r\nnext"), 1)
	f.Fuzz(func(t *testing.T, text []byte, step int) {
		if step < 1 || step > len(text) {
			return
		}
		end := follow(string(text), step)
		if whole := follow(string(text), len(text)); whole != end {
			t.Fatalf("%q ends at %d, in pieces of %d at %d", text, whole, step, end)
		}
		if end < 0 {
			return
		}
		if _, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(text[:end]))); err != nil && !strings.Contains(err.Error(), "too much overhead") {
			t.Fatalf("%q ends at %d, and net/http says %v", text, end, err)
		}
	})
}
