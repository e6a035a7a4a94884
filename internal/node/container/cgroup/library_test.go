package cgroup

import (
	"fmt"
	"testing"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs"
)

// The library that runc uses, for comparison. It has no devices here, which
// spares it about a third.
func BenchmarkCreateByLibrary(b *testing.B) {
	_, top := real(b)
	i := 0
	for b.Loop() {
		m, err := fs.NewManager(&cgroups.Cgroup{Path: fmt.Sprintf("/%s/%d", top, i), Resources: &cgroups.Resources{
			CpuShares: 512, CpuQuota: 20000, CpuPeriod: 100000, Memory: 64 << 20, MemorySwap: 64 << 20, PidsLimit: ptr(int64(100)), SkipDevices: true,
		}}, nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Apply(-1); err != nil {
			b.Fatal(err)
		}
		r, _ := m.GetCgroups()
		if err := m.Set(r.Resources); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := m.Destroy(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		i++
	}
}
