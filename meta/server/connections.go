package server

import (
	"container/heap"
	"container/list"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

const (
	// leastConnections are allowed however few files may be open.
	leastConnections = 64
	// mostSteps bounds the search for a connection that nobody would miss.
	mostSteps = 64
)

// mostConnections leaves a quarter of the files that may be open to the
// database and to what is downloaded.
func mostConnections() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return leastConnections
	}
	return max(int(min(limit.Cur, 1<<22))*3/4, leastConnections)
}

// boundConnections keeps connections below the number of files that may be
// open. When there are as many, the address that has most of them loses one:
// its oldest on which no request is under way. So a client that opens thousands
// takes them from nobody but itself.
type boundConnections struct {
	net.Listener
	most    int
	trusted func(netip.Addr) bool // proxies, who speak for many

	mu     sync.Mutex
	count  int
	byAddr map[netip.Addr]*peer
	peers  peerHeap
}

func newBoundConnections(l net.Listener, most int, trusted func(netip.Addr) bool) *boundConnections {
	return &boundConnections{Listener: l, most: most, trusted: trusted, byAddr: map[netip.Addr]*peer{}}
}

// Accept implements net.Listener.
func (b *boundConnections) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if bound := b.admitConnection(c); bound != nil {
			return bound, nil
		}
		_ = c.Close()
	}
}

// admitConnection counts a connection, making room for it; nil when there is none.
func (b *boundConnections) admitConnection(c net.Conn) *boundConnection {
	var addr netip.Addr
	if ap, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
		addr = ap.Addr().Unmap()
	}
	b.mu.Lock()
	victim := (*boundConnection)(nil)
	full := b.count >= b.most
	if full {
		victim = b.dispensableConnection()
	}
	if full && victim == nil {
		b.mu.Unlock()
		return nil
	}
	if victim != nil {
		b.forgetConnection(victim)
	}
	bound := &boundConnection{Conn: c, all: b, peer: b.peerOf(addr)}
	bound.place = bound.peer.connections.PushBack(bound)
	b.count++
	heap.Fix(&b.peers, bound.peer.index)
	b.mu.Unlock()
	if victim != nil {
		_ = victim.Conn.Close()
	}
	return bound
}

// dispensableConnection is a connection of the address that has most: the
// oldest that nothing is under way on, or the oldest of all when that address
// has more than a quarter of what there is and speaks only for itself.
func (b *boundConnections) dispensableConnection() *boundConnection {
	if len(b.peers) == 0 {
		return nil
	}
	most := b.peers[0]
	steps := 0
	for e := most.connections.Front(); e != nil && steps < mostSteps; e = e.Next() {
		if c := e.Value.(*boundConnection); !c.active.Load() {
			return c
		}
		steps++
	}
	if most.connections.Len() > b.most/4 && !b.trusted(most.addr) {
		return most.connections.Front().Value.(*boundConnection)
	}
	return nil
}

func (b *boundConnections) peerOf(addr netip.Addr) *peer {
	p := b.byAddr[addr]
	if p == nil {
		p = &peer{addr: addr}
		b.byAddr[addr] = p
		heap.Push(&b.peers, p)
	}
	return p
}

// forgetConnection forgets a connection. The lock is held.
func (b *boundConnections) forgetConnection(c *boundConnection) {
	if c.place == nil {
		return
	}
	p := c.peer
	p.connections.Remove(c.place)
	c.place = nil
	b.count--
	if p.connections.Len() > 0 {
		heap.Fix(&b.peers, p.index)
		return
	}
	heap.Remove(&b.peers, p.index)
	delete(b.byAddr, p.addr)
}

// watchState is for http.Server.ConnState: it tells on which connections a request
// is under way.
func (b *boundConnections) watchState(c net.Conn, state http.ConnState) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if bound, ok := c.(*boundConnection); ok {
		bound.active.Store(state == http.StateActive)
	}
}

// boundConnection is one that is counted until it is closed.
type boundConnection struct {
	net.Conn
	all    *boundConnections
	peer   *peer
	place  *list.Element // nil: no longer counted
	active atomic.Bool
}

// Close implements net.Conn.
func (c *boundConnection) Close() error {
	c.all.mu.Lock()
	c.all.forgetConnection(c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}

// ReadFrom lets files be sent without being copied.
func (c *boundConnection) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := c.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// CloseWrite lets a refusal reach a peer that still sends.
func (c *boundConnection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// peer is an address with its connections, the oldest first.
type peer struct {
	addr        netip.Addr
	connections list.List // of *boundConnection
	index       int       // in the heap
}

// peerHeap has the address with most connections first.
type peerHeap []*peer

func (h peerHeap) Len() int           { return len(h) }
func (h peerHeap) Less(i, j int) bool { return h[i].connections.Len() > h[j].connections.Len() }
func (h peerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *peerHeap) Push(x any) {
	p := x.(*peer)
	p.index = len(*h)
	*h = append(*h, p)
}

// Pop implements heap.Interface.
func (h *peerHeap) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return p
}
