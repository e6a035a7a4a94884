package translate

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// retryBackoff is how long a backend that answered badly is left alone.
const retryBackoff = 25 * time.Millisecond

func retries(v string) (*route.Retry, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 10 {
		return nil, fmt.Errorf("%q: must be a number from 1 to 10", v)
	}
	return &route.Retry{
		Attempts: n, Backoff: retryBackoff,
		Codes: []int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout},
	}, nil
}

// statuses reads the answers that a request may be repeated for.
func statuses(v string) ([]int, error) {
	var codes []int
	for s := range strings.SplitSeq(v, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 400 || n > 599 {
			return nil, fmt.Errorf("%q: must be statuses from 400 to 599, such as 502,503", v)
		}
		codes = append(codes, n)
	}
	return codes, nil
}
