package server

import (
	"context"
	"errors"
	"os"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// CreateTokenOffline makes a token without a server: in the data directory of
// one that is down, or in a PostgreSQL, whose servers may run.
func CreateTokenOffline(ctx context.Context, conf Config, n api.Token) (made api.Token, err error) {
	if err := n.Validate(); err != nil {
		return made, err
	}
	if conf.DB == "" {
		if _, err := os.Stat(conf.path("ops-meta.db")); err != nil {
			return made, &api.Error{Kind: api.KindNotFound, Message: "there is no ops-meta in " + conf.Data, Hint: "give a server's --data directory"}
		}
		lock, err := lockData(conf.Data)
		if err != nil {
			return made, err
		}
		defer lock.Close() //nolint:errcheck // the lock ends either way
	}
	s, err := store.Open(ctx, storeConfig(conf))
	if err != nil {
		return made, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	_, err = s.Write(ctx, api.Actor{Name: "whoever has the data"}, func(tx *store.Tx) (err error) {
		made, err = tx.CreateToken(ctx, n)
		return err
	})
	return made, err
}
