package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/backend"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// openData opens the directory and the database. Without PostgreSQL the
// directory belongs to one server at a time.
func (s *Server) openData(ctx context.Context) error {
	if err := os.MkdirAll(s.conf.Data, 0o700); err != nil {
		return fmt.Errorf("cannot make data directory: %w", err)
	}
	var err error
	if s.lock, err = lockData(s.conf.Data); err != nil {
		return err
	}
	s.sweepLeftovers()
	if s.store, err = store.Open(ctx, storeConfig(s.conf)); err != nil {
		return err
	}
	s.backend = backend.New(backend.Config{
		Data: s.conf.Data, KeepEvents: int(s.conf.KeepEvents), ForgetHosts: int(s.conf.ForgetHosts), Shared: s.conf.DB != "",
	}, s.store, s.log)
	if s.conf.DB != "" {
		return nil
	}
	return s.store.EndLeases(ctx, s.backend.OpenClock()) // the directory is ours: what held one is gone
}

func storeConfig(conf Config) store.Config {
	if conf.DB != "" {
		return store.Config{DSN: conf.DB}
	}
	return store.Config{Dir: conf.Data}
}

// sweepLeftovers removes what a backup or a restore that was killed has left:
// copies of the database and of artifacts. The directory is ours alone.
func (s *Server) sweepLeftovers() {
	for _, path := range sweepRestores(s.conf.Data) {
		s.log.Warn().Str("directory", path).Msg("removed what an interrupted restore left: it had restored nothing; restore again, into a new directory if a server has run in this one since")
	}
	for _, pattern := range []string{s.conf.path(".backup-*"), s.conf.path("artifacts", ".restore-*")} {
		left, _ := filepath.Glob(pattern) // the pattern is well formed
		for _, path := range left {
			err := os.Remove(path)
			s.log.Info().Err(err).Str("file", path).Msg("removed what an interrupted backup or restore left")
		}
	}
}

// lockFile is locked by the program that uses a data directory.
const lockFile = "ops-meta.lock"

// lockData takes the directory; the lock ends with the process.
func lockData(dir string) (*os.File, error) {
	f, err := plainfile.Lockable(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrPermission) {
		return nil, &api.Error{
			Kind: api.KindInternal, Message: "cannot lock data directory", Err: err,
			Hint: fmt.Sprintf("it has to belong to the user that ops-meta runs as: chown -R %d %s, also where it is mounted into a container", os.Geteuid(), dir),
		}
	}
	if err != nil {
		return nil, backend.HintOddFile(fmt.Errorf("cannot lock data directory: %w", err), backend.HintMakesOwn)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, &api.Error{
			Kind: api.KindConflict, Message: "another ops-meta uses the data directory " + dir,
			Hint: "stop it first; several servers share a PostgreSQL (--db), each with a directory of its own",
		}
	}
	return f, nil
}
