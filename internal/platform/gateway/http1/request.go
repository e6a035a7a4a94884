package http1

import "strings"

// Request is the head of a request.
type Request struct {
	Method string
	Target string // path and query
	Path   string // which is the same decoded
	Query  string
	Host   string
	Length int64 // of the body
	Close  bool  // the client wants no other answer on this connection
	Vouch  bool  // some field is about the client or the way to here
	Fields []Field

	array [MaxFields]Field
}

// Read reads a head, which is all of b. It returns false when there is any
// doubt about it.
func (r *Request) Read(b []byte) bool {
	text := view(b)
	line := strings.IndexByte(text, '\r')
	if line < 0 || line+1 >= len(text) || text[line+1] != '\n' || !r.readLine(text[:line]) {
		return false
	}
	n, ok := fields(text[line+2:], &r.array)
	if !ok {
		return false
	}
	r.Fields = r.array[:n]
	r.Host, r.Length, r.Close, r.Vouch = "", 0, false, false
	return r.understand()
}

func (r *Request) readLine(line string) bool {
	rest, ok := strings.CutSuffix(line, " HTTP/1.1")
	if !ok {
		return false
	}
	space := strings.IndexByte(rest, ' ')
	if space < 0 {
		return false
	}
	r.Method, r.Target = rest[:space], rest[space+1:]
	switch r.Method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	default:
		return false
	}
	if len(r.Target) == 0 || r.Target[0] != '/' || strings.HasPrefix(r.Target, "//") {
		return false
	}
	r.Path, r.Query, _ = strings.Cut(r.Target, "?")
	return all(r.Path, inPath) && all(r.Query, inQuery)
}

// understand reads the fields that say where the request ends and for whom it
// is. Each of them may be there once.
func (r *Request) understand() bool {
	var seen [doubtful + 1]bool
	for i := range r.Fields {
		f := &r.Fields[i]
		switch f.known {
		case none, date:
			continue
		case about:
			r.Vouch = true
			continue
		case doubtful, transferEncoding:
			return false
		case host:
			r.Host = f.Value
		case contentLength:
			var ok bool
			if r.Length, ok = length(f.Value); !ok {
				return false
			}
		case connection:
			var ok bool
			if r.Close, ok = closes(f.Value); !ok {
				return false
			}
		}
		if seen[f.known] {
			return false
		}
		seen[f.known] = true
	}
	return r.Host != "" && all(r.Host, inHost)
}

// Header returns the value of a field; those of several are joined. name is in
// its canonical form.
func (r *Request) Header(name string) (string, bool) {
	value, found := "", false
	for i := range r.Fields {
		f := &r.Fields[i]
		if len(f.Name) != len(name) || !strings.EqualFold(f.Name, name) {
			continue
		}
		if found {
			value += "," + f.Value
		} else {
			value, found = f.Value, true
		}
	}
	return value, found
}

// Said tells whether the field is one that the proxy says itself to the backend,
// whatever the client said.
func (f *Field) Said() bool { return f.known == about }

// IsHost tells whether it is the Host.
func (f *Field) IsHost() bool { return f.known == host }
