package counter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Source reads the counters of gateways over HTTP.
type Source struct {
	URLs   []string // each answers with a Snapshot
	Client *http.Client
}

// maxAnswer bounds what a gateway may answer: 5,000 backends take about 2 MB.
const maxAnswer = 64 << 20

// Read asks every gateway and adds up what they say. One that does not answer
// is an error: its requests would look as if nobody made them.
func (s Source) Read(ctx context.Context) (Snapshot, error) {
	sum := Snapshot{Backends: map[string]Backend{}}
	if len(s.URLs) == 0 {
		return sum, errors.New("no gateway is configured")
	}
	for _, url := range s.URLs {
		one, err := s.ask(ctx, url)
		if err != nil {
			return Snapshot{}, fmt.Errorf("counters of the gateway: %w", err)
		}
		sum.Time = time.Now()
		for key, b := range one.Backends {
			sum.Backends[key] = sum.Backends[key].Add(b)
		}
	}
	return sum, nil
}

func (s Source) ask(ctx context.Context, url string) (Snapshot, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Snapshot{}, err
	}
	res, err := s.Client.Do(req)
	if err != nil {
		return Snapshot{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return Snapshot{}, fmt.Errorf("%s answers %s", strings.TrimSuffix(url, "/"), res.Status)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return Snapshot{}, err
	}
	snap, err := Parse(data)
	if err != nil {
		return Snapshot{}, fmt.Errorf("%s: %w", url, err)
	}
	return snap, nil
}
