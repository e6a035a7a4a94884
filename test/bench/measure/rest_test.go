package measure

import "testing"

func TestHowIdleTheProcessorsWere(t *testing.T) {
	before, err := parseTimes("cpu  100 0 100 700 100 0 0 0 0 0")
	if err != nil {
		t.Fatal(err)
	}
	now, err := parseTimes("cpu  105 0 105 780 110 0 0 0 0 0")
	if err != nil {
		t.Fatal(err)
	}
	if got := now.idleSince(before); got != 0.9 {
		t.Errorf("idle for %v of the time, want 0.9", got)
	}
	for _, line := range []string{"", "cpu0 1 2 3 4 5 6", "cpu  1 2 x 4 5 6"} {
		if _, err := parseTimes(line); err == nil {
			t.Errorf("parseTimes(%q) reads it", line)
		}
	}
}
