package seccomp

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Cache compiles each policy once, however many containers have it. The zero
// value is ready, and safe for use by many goroutines at once.
type Cache struct {
	mu       sync.Mutex
	programs map[[sha256.Size]byte]Program
}

// cacheLimit is more policies than a node has. One that has more pays for
// compiling again, not with memory.
const cacheLimit = 256

// Compile is the package's Compile, remembered by what the policy says.
func (c *Cache) Compile(policy *specs.LinuxSeccomp) (Program, error) {
	text, err := json.Marshal(policy)
	if err != nil {
		return Program{}, fmt.Errorf("seccomp: %w: %w", err, fault.Invalid)
	}
	key := sha256.Sum256(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.programs[key]; ok {
		return p, nil
	}
	p, err := Compile(policy)
	if err != nil {
		return Program{}, err
	}
	if c.programs == nil || len(c.programs) >= cacheLimit {
		c.programs = map[[sha256.Size]byte]Program{}
	}
	c.programs[key] = p
	return p, nil
}
