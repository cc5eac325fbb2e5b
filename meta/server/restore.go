package server

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

const (
	restorePrefix = ".restoring-" // of directories in which a restore is made
	databaseFile  = "ops-meta.db"
	maxTrailer    = 1 << 20 // bytes of padding after a backup's last entry
)

// Restored is what a restore brought back.
type Restored struct {
	Rows      int64 // of the database
	Artifacts int
}

// Restore fills an empty data directory (and database) from a backup, all or
// nothing: it is made complete and examined in a directory of its own first,
// and what is then put in its place last is the database. The server must not
// run.
func Restore(ctx context.Context, conf Config, r io.Reader) (done Restored, err error) {
	conf, err = conf.withDefaults()
	if err != nil {
		return done, err
	}
	undo, err := makeDirs(conf.Data)
	if err != nil {
		return done, fmt.Errorf("cannot make data directory: %w", err)
	}
	defer func() {
		if err != nil {
			undo()
		}
	}()
	lock, err := lockData(conf.Data)
	if err != nil {
		undo = func() {} // somebody else's
		return done, err
	}
	defer lock.Close() //nolint:errcheck // the lock ends either way
	if _, err := os.Lstat(conf.path(databaseFile)); err == nil {
		undo = func() {}
		return done, &api.Error{
			Kind: api.KindExists, Message: "cannot restore: there is a database in " + conf.Data + " already",
			Hint: "restore into a new directory",
		}
	}
	if conf.DB != "" {
		if err := store.CheckUnused(ctx, storeConfig(conf)); err != nil {
			return done, err
		}
	}
	sweepRestores(conf.Data)
	stage, err := os.MkdirTemp(conf.Data, restorePrefix)
	if err != nil {
		return done, fmt.Errorf("cannot make room for the restore: %w", err)
	}
	defer os.RemoveAll(stage) //nolint:errcheck // the next start removes it
	faultpoint.Hit("restore.begun")
	rs := restorer{conf: conf, stage: stage, sizes: map[string]int64{}}
	if err := rs.unpackBackup(ctx, r); err != nil {
		return done, err
	}
	faultpoint.Hit("restore.unpacked")
	if done.Rows, err = rs.examineStage(ctx); err != nil {
		return done, err
	}
	done.Artifacts = len(rs.sizes)
	faultpoint.Hit("restore.examined")
	if err := rs.putInPlace(ctx); err != nil {
		return done, err
	}
	faultpoint.Hit("restore.placed")
	return done, nil
}

// makeDirs makes a directory, and undoes it as long as nothing is in it.
func makeDirs(dir string) (undo func(), err error) {
	var made []string
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); err == nil || at == filepath.Dir(at) {
			break
		}
		made = append(made, at)
	}
	return func() {
		if len(made) > 0 {
			_ = os.Remove(filepath.Join(dir, lockFile))
		}
		for _, d := range made {
			_ = os.Remove(d)
		}
	}, os.MkdirAll(dir, 0o700)
}

// sweepRestores removes what restores that were killed have left.
func sweepRestores(dir string) (removed []string) {
	left, _ := filepath.Glob(filepath.Join(dir, restorePrefix+"*")) // the pattern is well formed
	for _, path := range left {
		if os.RemoveAll(path) == nil {
			removed = append(removed, path)
		}
	}
	return removed
}

func notABackup(err error) error {
	return &api.Error{Kind: api.KindInvalid, Message: "this is not a complete backup of ops-meta", Err: err, Hint: "make one with: ops-meta backup FILE; nothing was changed"}
}

// restorer makes a restore in its stage.
type restorer struct {
	conf  Config
	stage string
	sizes map[string]int64 // of the contents, by digest
}

func (rs restorer) stagePath(name string) string { return filepath.Join(rs.stage, name) }

// unpackBackup reads a whole backup: the contents, the database, and nothing else.
func (rs restorer) unpackBackup(ctx context.Context, r io.Reader) error {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return notABackup(err)
	}
	in, database := tar.NewReader(zip), false
	for ctx.Err() == nil {
		head, err := in.Next()
		switch {
		case errors.Is(err, io.EOF) && database:
			return wholeTrailer(zip)
		case err != nil:
			return notABackup(err)
		case database:
			return notABackup(fmt.Errorf("%.80q comes after the database", head.Name))
		}
		if err := rs.keepMember(head, in); err != nil {
			return err
		}
		database = head.Name == databaseEntry
	}
	return ctx.Err()
}

// wholeTrailer reads to the end, where the archive's own checksum is.
func wholeTrailer(zip io.Reader) error {
	n, err := io.Copy(io.Discard, io.LimitReader(zip, maxTrailer+1))
	if err == nil && n > maxTrailer {
		err = errors.New("more follows its end")
	}
	if err != nil {
		return notABackup(err)
	}
	return nil
}

var contentRule = regexp.MustCompile(`^[0-9a-f]{64}$`)

// keepMember keeps one member of a backup in the stage.
func (rs restorer) keepMember(head *tar.Header, in io.Reader) error {
	digest, isContent := strings.CutPrefix(head.Name, blobEntry)
	_, twice := rs.sizes[digest]
	switch {
	case head.Typeflag != tar.TypeReg, head.Name != databaseEntry && (!isContent || !contentRule.MatchString(digest)):
		return notABackup(fmt.Errorf("%.80q is no part of a backup", head.Name))
	case isContent && twice:
		return notABackup(fmt.Errorf("artifact %.64s is in it twice", digest))
	}
	if err := roomFor(rs.stage, head); err != nil {
		return err
	}
	if !isContent {
		_, err := writeMember(rs.stagePath(databaseEntry), in)
		return err
	}
	got, err := writeMember(rs.stagePath(digest), in)
	if err == nil && got != digest {
		err = notABackup(fmt.Errorf("artifact %.64s has the sha256 %s", digest, got))
	}
	rs.sizes[digest] = head.Size
	return err
}

// roomFor refuses what the disk cannot hold before it is full.
func roomFor(dir string, head *tar.Header) error {
	free, err := freeSpace(dir)
	if err != nil || head.Size < 0 || uint64(head.Size) < free {
		return nil // writing will tell
	}
	return &api.Error{
		Kind: api.KindInvalid, Message: fmt.Sprintf("%.80q of the backup has %d bytes and %s has room for %d", head.Name, head.Size, dir, free),
		Hint: "make room, or the file is no backup of ops-meta; nothing was changed",
	}
}

// writeMember writes a file and returns its sha256.
func writeMember(path string, in io.Reader) (digest string, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", fmt.Errorf("cannot restore: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	var broken error // of the archive, not of the disk
	if _, err := io.Copy(io.MultiWriter(f, sum), readerNoting{in, &broken}); broken != nil {
		return "", notABackup(broken)
	} else if err != nil {
		return "", fmt.Errorf("cannot restore: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// readerNoting notes what reading failed with.
type readerNoting struct {
	io.Reader
	err *error
}

func (r readerNoting) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		*r.err = err
	}
	return n, err
}

// examineStage makes the database in the stage, whatever the real one will be, and
// makes sure that every content that it names is there.
func (rs restorer) examineStage(ctx context.Context) (rows int64, err error) {
	rows, err = rs.restoreDatabase(ctx, store.Config{Dir: rs.stage})
	if err != nil {
		return 0, err
	}
	s, err := store.Open(ctx, store.Config{Dir: rs.stage})
	if err != nil {
		return 0, err
	}
	w, err := s.Wanted(ctx)
	if err = errors.Join(err, s.Close()); err != nil {
		return 0, err
	}
	for _, r := range w.Releases {
		for _, a := range r.Artifacts {
			if _, there := rs.sizes[a.SHA256]; !there && a.External == "" {
				return 0, notABackup(fmt.Errorf("the content of %s %s for %s is missing", a.Agent, a.Version, a.Arch))
			}
		}
	}
	return rows, nil
}

func (rs restorer) restoreDatabase(ctx context.Context, to store.Config) (rows int64, err error) {
	f, err := os.Open(rs.stagePath(databaseEntry))
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // only read
	return store.Restore(ctx, to, f)
}

// putInPlace moves contents first, which mean nothing alone, then the database.
func (rs restorer) putInPlace(ctx context.Context) error {
	if err := os.MkdirAll(rs.conf.path("artifacts"), 0o700); err != nil {
		return fmt.Errorf("cannot restore artifacts: %w", err)
	}
	blobs, err := openBlobs(ctx, rs.conf)
	if err != nil {
		return err
	}
	for digest, size := range rs.sizes {
		f, err := os.Open(rs.stagePath(digest))
		if err != nil {
			return fmt.Errorf("cannot restore artifacts: %w", err)
		}
		err = blobs.Put(ctx, digest, f, size)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		faultpoint.Hit("restore.content")
	}
	if rs.conf.DB != "" {
		_, err := rs.restoreDatabase(ctx, storeConfig(rs.conf))
		return err
	}
	return rs.placeDatabase()
}

// placeDatabase makes the database appear, whole and on the disk.
func (rs restorer) placeDatabase() error {
	if info, err := os.Stat(rs.stagePath(databaseFile + "-wal")); err == nil && info.Size() > 0 {
		return errors.New("cannot restore: the database was not written in full")
	}
	f, err := os.Open(rs.stagePath(databaseFile))
	if err != nil {
		return fmt.Errorf("cannot restore: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("cannot restore: %w", err)
	}
	if err := os.Rename(rs.stagePath(databaseFile), rs.conf.path(databaseFile)); err != nil {
		return fmt.Errorf("cannot restore: %w", err)
	}
	return atomicfile.SyncDir(rs.conf.Data)
}
