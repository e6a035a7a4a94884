package proxy

import (
	"net/http"
	"sync/atomic"
	"time"
)

// date writes Date fields. It makes one a second and keeps it.
type date struct{ last atomic.Pointer[dateLine] }

type dateLine struct {
	second int64
	line   []byte
}

func (d *date) appendTo(out []byte, now time.Time) []byte {
	last := d.last.Load()
	if last == nil || last.second != now.Unix() {
		line := append(now.UTC().AppendFormat([]byte("Date: "), http.TimeFormat), "\r\n"...)
		last = &dateLine{now.Unix(), line}
		d.last.Store(last)
	}
	return append(out, last.line...)
}
