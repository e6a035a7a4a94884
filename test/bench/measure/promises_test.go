package measure

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestUpdateWritesOnlyWhatWasMeasured(t *testing.T) {
	const before = "# Promises\n\n" +
		"Last run of `make bench`: never.\n" +
		"Last run of `make bench-engine`: never.\n\n" +
		"| what | goal | measured | held by |\n" +
		"| --- | --- | --- | --- |\n" +
		"| run --rm | ≤ 40 ms | not yet measured | `make bench`: `run-rm` |\n" +
		"| a pod | ≤ 9 ms | not yet measured | `make bench`: `pod` |\n" +
		"| a start | ≤ 6 ms | not yet measured | `make bench-engine`: `pod` |\n" +
		"| a file | stays | yes | TestFile |\n"
	const after = "# Promises\n\n" +
		"Last run of `make bench`: Abacus, 4 cores, 8 GB, Linux 6, cgroup v2, load 0 0 0, 2026-01-02T00:00:00Z.\n" +
		"Last run of `make bench-engine`: never.\n\n" +
		"| what | goal | measured | held by |\n" +
		"| --- | --- | --- | --- |\n" +
		"| run --rm | ≤ 40 ms | 30 ms, p99 50 (docker 400); 2026-01-02 | `make bench`: `run-rm` |\n" +
		"| a pod | ≤ 9 ms | 12 ms; **missed**: median 12, goal ≤ 9 ms; 2026-01-02 | `make bench`: `pod` |\n" +
		"| a start | ≤ 6 ms | not yet measured | `make bench-engine`: `pod` |\n" +
		"| a file | stays | yes | TestFile |\n"
	path := filepath.Join(t.TempDir(), "promises.md")
	if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	r := Report{
		Machine: Machine{CPU: "Abacus", Cores: 4, MemoryGB: 8, Kernel: "6", Cgroup: "v2", Load: "0 0 0", Date: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)},
		Figures: []Figure{
			{Name: "run-rm", Unit: "ms", Goal: Goal{Median: 40}, Rows: []Row{{Who: "sampan", Values: []float64{50, 30, 20}}, {Who: "docker", Values: []float64{400}}, {Who: "podman", Err: "no"}}},
			{Name: "pod", Unit: "ms", Goal: Goal{Median: 9}, Rows: []Row{{Who: "sampan", Values: []float64{12}}}},
		},
	}
	if err := r.Update(path, "bench"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != after {
		t.Errorf("Update wrote\n%s\nwant\n%s", got, after)
	}
}
