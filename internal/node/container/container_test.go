package container_test

import (
	"testing"

	"github.com/sampan-cloud/sampan/internal/node/container/containertest"
)

func TestNative(t *testing.T) { containertest.Run(t, "", "") }
