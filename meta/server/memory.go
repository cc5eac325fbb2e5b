package server

import (
	"os"
	"runtime/debug"
)

const (
	// gcPercent keeps a million hosts, 300 MB, well below 600 MB.
	gcPercent = 60
	// manyToLoad is how many hosts make a heap worth returning once it is loaded.
	manyToLoad = 100_000
)

// boundMemory sets how much the heap may grow between collections once the
// fleet is loaded, unless the environment says it; and returns what loading
// took for a moment.
func (s *Server) boundMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if s.fleet.Hosts() >= manyToLoad {
		debug.FreeOSMemory()
	}
}
