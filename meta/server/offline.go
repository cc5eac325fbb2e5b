package server

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/backend"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// Offline is a data directory whose server is down.
type Offline struct{ s *Server }

// OpenOffline opens what a server that does not run has kept.
func OpenOffline(ctx context.Context, conf Config) (*Offline, error) {
	conf, err := conf.withDefaults()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(conf.path("artifacts")); err != nil {
		return nil, &api.Error{Kind: api.KindNotFound, Message: "there is no ops-meta in " + conf.Data, Hint: "give a server's --data directory"}
	}
	s := &Server{conf: conf, log: zerolog.Nop()}
	for _, step := range []func(context.Context) error{s.openData, s.openArtifacts, s.openKept} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return &Offline{s}, nil
}

func (s *Server) openKept(ctx context.Context) error { return s.backend.OpenKept(ctx, s.artifacts) }

// Doctor examines the directory.
func (o *Offline) Doctor(ctx context.Context) []api.Check {
	b := o.s.backend
	return append(o.s.store.Check(ctx), checkSecret(o.s.conf.path(backend.AdminTokenFile)), checkSpace(o.s.conf.Data), b.CheckStandstill(), b.CheckAdmins(ctx), b.CheckContents(ctx))
}

// Backup writes everything that is kept to w.
func (o *Offline) Backup(ctx context.Context, w io.Writer) error {
	return care{o.s}.Backup(ctx, backend.Self, w)
}

// Close gives the directory back.
func (o *Offline) Close() error { return o.s.close() }

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
