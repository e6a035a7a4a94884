package proxy

import (
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// NewTransport returns connections to one endpoint, kept for the next request.
func NewTransport(protocol upstream.Protocol, who *upstream.TLS) upstream.Transport {
	if protocol == upstream.TCP || protocol == upstream.UDP {
		return noRequests{}
	}
	dialer := &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		DialContext:         dialer.DialContext,
		MaxIdleConns:        0,
		MaxIdleConnsPerHost: 512,
		IdleConnTimeout:     60 * time.Second,
		// What the client and the app agree on is theirs.
		DisableCompression:    true,
		ExpectContinueTimeout: time.Second,
		ReadBufferSize:        8 << 10,
		WriteBufferSize:       8 << 10,
		Protocols:             new(http.Protocols),
	}
	switch protocol {
	case upstream.H2C:
		t.Protocols.SetUnencryptedHTTP2(true)
	case upstream.HTTPS:
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(true)
		if who != nil {
			t.TLSClientConfig = who.Client()
		}
	default:
		t.Protocols.SetHTTP1(true)
	}
	return t
}

// noRequests is for endpoints that requests are not sent to.
type noRequests struct{}

func (noRequests) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.ErrUnsupported
}

func (noRequests) CloseIdleConnections() {}
