package libvirt

import (
	"testing"

	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }
