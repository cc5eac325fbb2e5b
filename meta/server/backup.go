package server

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// A backup is a tar.gz of the artifacts' contents and, as its last entry, the
// database: a restore that breaks off leaves no database behind.
const (
	blobEntry     = "blobs/"
	databaseEntry = "database"
)

// Backup writes everything that is kept to w, while the server runs. The
// database is read first, at one moment; contents never change.
func (s care) Backup(ctx context.Context, by api.Actor, w io.Writer) error {
	dump, err := os.CreateTemp(s.conf.Data, ".backup-")
	if err != nil {
		return fmt.Errorf("cannot make room for the backup: %w", err)
	}
	defer func() { _ = dump.Close() }()
	faultpoint.Hit("backup.room")
	// Without a name from the beginning, so that whatever ends this process
	// leaves no copy of the database behind.
	if err := os.Remove(dump.Name()); err != nil {
		return fmt.Errorf("cannot make room for the backup: %w", err)
	}
	if _, err := s.store.Write(ctx, by, func(tx *store.Tx) error { return tx.Record("backup", "server", "ops-meta", nil, nil) }); err != nil {
		return err
	}
	if _, err := s.store.Backup(ctx, dump); err != nil {
		return err
	}
	faultpoint.Hit("backup.dumped")
	zip, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	out := tar.NewWriter(zip)
	if err := s.backupContents(ctx, out); err != nil {
		return err
	}
	faultpoint.Hit("backup.contents")
	if err := addFile(out, databaseEntry, dump); err != nil {
		return err
	}
	return errors.Join(out.Close(), zip.Close())
}

// backupContents adds the content of every artifact that is kept here.
func (s care) backupContents(ctx context.Context, out *tar.Writer) error {
	done := map[string]bool{}
	for _, a := range s.backend.ReleasedArtifacts() {
		if a.External != "" || done[a.SHA256] {
			continue
		}
		done[a.SHA256] = true
		content, err := s.artifacts.Open(ctx, a.SHA256)
		if err != nil {
			return fmt.Errorf("cannot back up %s %s for %s: %w", a.Agent, a.Version, a.Arch, err)
		}
		err = addEntry(out, blobEntry+a.SHA256, content.Size, content)
		_ = content.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func addFile(out *tar.Writer, name string, f *os.File) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("cannot read back the backup: %w", err)
	}
	return addEntry(out, name, size, f)
}

func addEntry(out *tar.Writer, name string, size int64, r io.Reader) error {
	head := &tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: time.Now(), Format: tar.FormatPAX}
	if err := out.WriteHeader(head); err != nil {
		return fmt.Errorf("cannot write the backup: %w", err)
	}
	if _, err := io.Copy(out, r); err != nil {
		return fmt.Errorf("cannot write the backup: %w", err)
	}
	return nil
}
