package http1

import "strings"

// Response is the head of a response.
type Response struct {
	Status  int
	Line    string // the first, with its end
	Length  int64  // of the body; -1 when not said
	Chunked bool
	Close   bool // the backend takes no other request on this connection
	Dated   bool // it says when it was made
	Fields  []Field

	array [MaxFields]Field
}

// Read reads a head, which is all of b. It returns false when there is any
// doubt about it.
func (r *Response) Read(b []byte) bool {
	text := view(b)
	end := strings.IndexByte(text, '\r')
	if end < 0 || end+1 >= len(text) || text[end+1] != '\n' || !r.readLine(text[:end]) {
		return false
	}
	r.Line = text[:end+2]
	n, ok := fields(text[end+2:], &r.array)
	if !ok {
		return false
	}
	r.Fields = r.array[:n]
	r.Length, r.Chunked, r.Close, r.Dated = -1, false, false, false
	return r.understand()
}

func (r *Response) readLine(line string) bool {
	rest, ok := strings.CutPrefix(line, "HTTP/1.1 ")
	if !ok || len(rest) < 3 || len(rest) > 3 && rest[3] != ' ' || !all(rest, inValue) {
		return false
	}
	r.Status = 0
	for i := range 3 {
		if rest[i] < '0' || rest[i] > '9' {
			return false
		}
		r.Status = 10*r.Status + int(rest[i]-'0')
	}
	return r.Status >= 100 && r.Status != 101
}

func (r *Response) understand() bool {
	var seen [doubtful + 1]bool
	for i := range r.Fields {
		f := &r.Fields[i]
		ok := true
		switch f.known {
		case none, host, about:
			continue
		case doubtful:
			return false
		case date:
			r.Dated = true
		case contentLength:
			r.Length, ok = length(f.Value)
		case transferEncoding:
			r.Chunked, ok = true, len(f.Value) == 7 && equalFold(f.Value, "chunked")
		case connection:
			r.Close, ok = closes(f.Value)
		}
		if !ok || seen[f.known] {
			return false
		}
		seen[f.known] = true
	}
	return !r.Chunked || r.Length < 0
}

// HasBody tells whether a body follows, when the request was made by method.
func (r *Response) HasBody(method string) bool {
	return method != "HEAD" && r.Status >= 200 && r.Status != 204 && r.Status != 304
}

// Chunked tells whether the field says that the body is in chunks.
func (f *Field) Chunked() bool { return f.known == transferEncoding }

// Sized tells whether the field says how long the body is.
func (f *Field) Sized() bool { return f.known == contentLength }
