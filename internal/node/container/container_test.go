package container_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/sampan-cloud/sampan/internal/node/container/containertest"
)

func TestMain(m *testing.M) { os.Exit(containertest.Main(m)) }

func TestNative(t *testing.T) { containertest.Run(t, "", "") }

func TestStock(t *testing.T) {
	for _, name := range []string{"runc", "crun"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(name)
			if err != nil {
				t.Skipf("%s is not installed", name)
			}
			containertest.Run(t, name, path)
		})
	}
}
