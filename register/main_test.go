package register

import (
	"testing"

	"github.com/gatebus/gatebus/internal/bubble"
)

func TestMain(m *testing.M) { bubble.Main(m) }
