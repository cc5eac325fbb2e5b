package server

import (
	"os"
	"runtime/debug"
)

const (
	// gcPercent keeps a million hosts, 310 MB, below 600 MB.
	gcPercent = 80
	// manyToLoad is how many hosts make a heap worth returning once loaded.
	manyToLoad = 100_000
)

// boundMemory sets how much the heap may grow between collections, unless the
// environment does.
func boundMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// returnMemory gives back what loading many hosts took for a moment.
func (s *Server) returnMemory() {
	if s.fleet.Hosts() >= manyToLoad {
		debug.FreeOSMemory()
	}
}
