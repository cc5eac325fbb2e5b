package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/server"
)

func (a *app) backupCommand() *cobra.Command {
	var path string
	var flags server.Config
	c := &cobra.Command{
		Use: "backup FILE", Short: "Save everything that a server keeps", Args: cobra.ExactArgs(1),
		Long: "Save the database and the artifacts of a running server as one archive; with --data\nof one that is down. It has hashes of tokens in it: keep it as safe as the server.\n- is the standard output.",
		RunE: func(cmd *cobra.Command, args []string) error {
			save, done, err := a.newSaver(cmd, path, flags)
			if err != nil {
				return err
			}
			defer done()
			if args[0] == "-" {
				return save(cmd.Context(), a.out)
			}
			size, err := backupTo(cmd.Context(), save, args[0])
			if err != nil {
				return err
			}
			a.say("%s written, %s", args[0], printable.Bytes(size))
			return nil
		},
	}
	offlineFlags(c, &path, &flags)
	return c
}

// saver writes a backup.
type saver func(context.Context, io.Writer) error

// newSaver is a running server's, or with --data that of one that is down.
func (a *app) newSaver(cmd *cobra.Command, path string, flags server.Config) (save saver, done func(), err error) {
	if !wantsOffline(cmd) {
		c, err := a.client()
		if err != nil {
			return nil, nil, err
		}
		return c.Backup, func() {}, nil
	}
	o, err := openOffline(cmd, path, flags)
	if err != nil {
		return nil, nil, err
	}
	return o.Backup, func() { _ = o.Close() }, nil
}

// offlineFlags let a command work on a server that is down.
func offlineFlags(c *cobra.Command, path *string, flags *server.Config) {
	c.Flags().StringVar(&flags.Data, "data", "", "data directory of a server that is down")
	c.Flags().StringVar(&flags.DB, "db", "", "its postgres://…")
	c.Flags().StringVar(&flags.Artifacts, "artifacts", "", "its s3://…")
	c.Flags().StringVar(path, "config", "", "its file of settings")
}

func wantsOffline(cmd *cobra.Command) bool {
	return slices.ContainsFunc([]string{"data", "config", "db", "artifacts"}, cmd.Flags().Changed)
}

func openOffline(cmd *cobra.Command, path string, flags server.Config) (*server.Offline, error) {
	conf, err := joinSettings(cmd.Flags(), path, flags)
	if err != nil {
		return nil, err
	}
	return server.OpenOffline(cmd.Context(), conf)
}

// backupTo lets a file appear only when it is complete. What it is made in is
// locked while that goes on.
func backupTo(ctx context.Context, save saver, path string) (size int64, err error) {
	parts := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".part-")
	removeLeftParts(parts)
	f, err := os.CreateTemp(filepath.Dir(parts), filepath.Base(parts))
	if err != nil {
		return 0, fmt.Errorf("cannot write the backup: %w", err)
	}
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) // where there are no locks, another backup may end this one
	faultpoint.Hit("backup.begun")
	defer func() {
		_ = f.Close()
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err := save(ctx, f); err != nil {
		return 0, err
	}
	if size, err = f.Seek(0, io.SeekCurrent); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, fmt.Errorf("cannot write the backup: %w", err)
	}
	faultpoint.Hit("backup.written")
	if err := os.Rename(f.Name(), path); err != nil {
		return 0, fmt.Errorf("cannot write the backup: %w", err)
	}
	faultpoint.Hit("backup.placed")
	return size, atomicfile.SyncDir(filepath.Dir(path))
}

// removeLeftParts removes what backups to the same place that were killed have
// left: copies of the database that nobody has locked.
func removeLeftParts(prefix string) {
	escaped := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(prefix)
	left, _ := filepath.Glob(escaped + "*") // the pattern is well formed
	for _, path := range left {
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.Remove(path)
		}
		_ = f.Close()
	}
}

func (a *app) restoreCommand() *cobra.Command {
	var path string
	var flags server.Config
	c := &cobra.Command{
		Use: "restore FILE --data DIR", Short: "Fill an empty data directory from a backup", Args: cobra.ExactArgs(1),
		Long: "Fill an empty data directory (or PostgreSQL database) from a backup. The server\nmust not run; start it afterwards with the same --data. What is wanted is then as\nold as the backup, so the fleet stands still: every host keeps what it reports\nuntil somebody has looked at ops-meta standstill and said ops-meta standstill end.",
		RunE: func(cmd *cobra.Command, args []string) error {
			conf, err := joinSettings(cmd.Flags(), path, flags)
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close() //nolint:errcheck // only read
			done, err := server.Restore(cmd.Context(), conf, f)
			if err != nil {
				return err
			}
			a.say("restored: %s, %s", printable.Count(int(done.Rows), "row", "rows"), printable.Count(done.Artifacts, "artifact", "artifacts"))
			a.say("the fleet stands still: once the server runs, hosts keep what they report and rollouts are paused until you have seen the difference (ops-meta standstill) and said go (ops-meta standstill end)")
			return nil
		},
	}
	serveFlags(c.Flags(), &flags)
	c.Flags().StringVar(&path, "config", os.Getenv("OPS_META_CONFIG"), "the server's file of settings [$OPS_META_CONFIG]")
	return c
}
