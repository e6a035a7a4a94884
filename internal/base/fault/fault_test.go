package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestOf(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want Kind
	}{
		"no error has no kind":                     {nil, ""},
		"a wrapped kind is found":                  {fmt.Errorf("run web: %w", fmt.Errorf("blob x: %w", NotFound)), NotFound},
		"the first kind wins over the cause's":     {fmt.Errorf("%w: %w", Corrupt, fs.ErrNotExist), Corrupt},
		"a missing file is not found":              {fmt.Errorf("open x: %w", fs.ErrNotExist), NotFound},
		"a deadline is a timeout":                  {context.DeadlineExceeded, Timeout},
		"an error that says nothing is unexpected": {errors.New("boom"), Internal},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Of(tt.err); got != tt.want {
				t.Errorf("Of(%v) = %q, want %q", tt.err, got, tt.want)
			}
		})
	}
}

func TestEveryKindHasAnHTTPStatus(t *testing.T) {
	for _, k := range []Kind{Invalid, NotFound, Exists, Unauthorized, Forbidden, Precondition, Exhausted, Unavailable, Timeout, Canceled, Unsupported} {
		if got := k.HTTP(); got == 500 {
			t.Errorf("%q.HTTP() = 500, want a status of its own", k)
		}
	}
}
