package bodies

import "sync/atomic"

// Room is memory for bodies that are larger than [Small] while they are worked
// on. A sender that finds none comes again: waiting would hold what it has.
type Room struct{ left atomic.Int64 }

// DefaultRoom is enough for 64 bodies of a megabyte.
const DefaultRoom = 64 << 20

// NewRoom makes room for so many bytes.
func NewRoom(bytes int64) *Room {
	r := &Room{}
	r.left.Store(bytes)
	return r
}

// Take takes n bytes and reports whether there were so many.
func (r *Room) Take(n int64) bool {
	if r.left.Add(-n) >= 0 {
		return true
	}
	r.left.Add(n)
	return false
}

// Give returns what was taken.
func (r *Room) Give(n int64) { r.left.Add(n) }
