package server

import (
	"context"
	"time"

	"github.com/ops-updater/ops-updater/internal/pause"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// How often the loops look.
const (
	holdsEvery   = time.Second
	tokensEvery  = time.Minute
	peersEvery   = time.Second
	seenEvery    = 30 * time.Second
	retryRefresh = time.Second
)

// followChanges compiles what any replica changed, and tells who follows the feed.
// It begins with the state of now, so that nothing falls between.
func (s *Server) followChanges(ctx context.Context, changes <-chan store.Change, lastAudit int64) {
	for change := range changes {
		s.backend.LookBack(ctx)
		for s.backend.Refresh(ctx, change.Serial) != nil && pause.For(ctx, retryRefresh) {
			s.log.Warn().Int64("serial", change.Serial).Msg("cannot read what is wanted; trying again")
		}
		s.backend.RememberSerial()
		lastAudit = s.backend.Announce(ctx, lastAudit)
	}
}

// followPeers takes over what other replicas heard of hosts. It begins with a mark
// from before the hosts were loaded.
func (s *Server) followPeers(ctx context.Context, mark store.Mark) {
	lastSeen := time.Now()
	for pause.For(ctx, peersEvery) {
		next, err := s.store.HostsSince(ctx, mark, func(h api.Host) error {
			s.fleet.Restore(h)
			return nil
		})
		if err != nil {
			continue // the next round looks from the same mark
		}
		mark = next
		if time.Since(lastSeen) < seenEvery {
			continue
		}
		since := lastSeen.Add(-seenEvery)
		lastSeen = time.Now()
		if err := s.takeSeen(ctx, since); err != nil {
			lastSeen = since
		}
	}
}

func (s *Server) takeSeen(ctx context.Context, since time.Time) error {
	var seen []api.HostSeen
	err := s.store.LoadSeen(ctx, since, func(h api.HostSeen) error {
		seen = append(seen, h)
		return nil
	})
	s.fleet.MarkSeen(seen)
	return err
}
