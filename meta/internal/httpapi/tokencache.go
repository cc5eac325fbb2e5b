package httpapi

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// secretHash stands for a secret in memory.
type secretHash [sha256.Size]byte

type cachedToken struct {
	token api.Token
	fresh time.Time
}

// tokenCache keeps what the database said. What it said before something was
// forgotten or doubted is not kept any more afterwards: the answer may have
// been on its way meanwhile.
type tokenCache struct {
	mu        sync.RWMutex
	byHash    map[secretHash]cachedToken
	forgotten uint64 // how often something was forgotten or doubted
}

// mark is to be taken before the database is asked.
func (c *tokenCache) mark() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.forgotten
}

func (c *tokenCache) get(hash secretHash) (cachedToken, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	t, ok := c.byHash[hash]
	return t, ok
}

func (c *tokenCache) put(hash secretHash, t cachedToken, asked uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forgotten == asked {
		c.byHash[hash] = t
	}
}

func (c *tokenCache) doubtHost(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgotten++
	for hash, t := range c.byHash {
		if t.token.Host == host {
			t.fresh = time.Time{}
			c.byHash[hash] = t
		}
	}
}

func (c *tokenCache) drop(hash secretHash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byHash, hash)
}

func (c *tokenCache) forgetTokens(gone func(api.Token) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgotten++
	for hash, t := range c.byHash {
		if gone(t.token) {
			delete(c.byHash, hash)
		}
	}
}

// usedTokens remembers when operators' tokens were used; hosts show it by
// their heartbeats.
type usedTokens struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (u *usedTokens) noteUse(t api.Token, now time.Time) {
	if t.Role == api.RoleHost {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.at[t.ID] = now
}

func (u *usedTokens) drain() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := u.at
	u.at = map[string]time.Time{}
	return at
}
