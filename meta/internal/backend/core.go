package backend

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/keyring"
	"github.com/ops-updater/ops-updater/meta/internal/lineage"
	"github.com/ops-updater/ops-updater/meta/internal/notify"
	"github.com/ops-updater/ops-updater/meta/internal/provider"
	"github.com/ops-updater/ops-updater/meta/internal/release"
	"github.com/ops-updater/ops-updater/meta/internal/rollouts"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// core is what the use-cases share. Its exported methods are for package server,
// which runs them in loops and serves what they read.
type core struct {
	conf      Config
	settings  atomic.Pointer[Settings]
	log       zerolog.Logger
	store     *store.Store
	fleet     *fleet.Fleet
	engine    *rollouts.Engine
	artifacts *release.Store
	access    Access
	feed      Feed
	notifier  *notify.Sender

	compiling sync.Mutex
	wanted    atomic.Pointer[wantedIndex]
	lineage   lineage.Key
	ring      atomic.Pointer[keyring.Ring]
	clock     clockWatch
	ahead     aheadTurns
	provider  *provider.Provider // nil: everybody who logs in is known here
	seal      seal               // of logins that are under way
	hashing   chan struct{}      // a place for each password that may be hashed at a time
}

// write makes one operator's change and has it in force here when it returns.
func (c *core) write(ctx context.Context, by api.Actor, do func(*store.Tx) error) error {
	serial, err := c.store.Write(ctx, by, do)
	if err != nil {
		return err
	}
	if err := c.Refresh(context.WithoutCancel(ctx), serial); err != nil {
		c.log.Warn().Err(err).Int64("serial", serial).Msg("change kept, but not yet in force: it will be when the database answers")
	}
	return nil
}
