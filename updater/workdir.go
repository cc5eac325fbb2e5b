package updater

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ops-updater/ops-updater/internal/host/runas"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
	"github.com/ops-updater/ops-updater/updater/pool"
)

// startChild starts a child as user, who is created first where the
// configuration allows that.
func (e *Engine) startChild(ctx context.Context, user string) (pool.Child, error) {
	if cfg := e.currentConfig(); cfg.CreateUsers {
		created, err := runas.Ensure(ctx, user)
		if err != nil {
			return nil, err
		}
		if created {
			cfg.Log.Info().Str("user", user).Msg("user created")
		}
	}
	child, err := pool.Start(ctx, user)
	if err != nil {
		return nil, err
	}
	return child, nil
}

// prepareDir makes {workDir}/{name} for an agent whose user may not make it
// itself: when we are root, and everything above it belongs to root alone.
// Otherwise nothing is done, and the child makes it as the agent's user, or
// says why it cannot.
func (e *Engine) prepareDir(ctx context.Context, p plan.Place, name string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	id, err := runas.Lookup(ctx, p.RunUser)
	if err != nil || id.UID == 0 {
		return err
	}
	if err := makeOwned(p.WorkDir, name, id.UID, id.GID); err != nil {
		return fmt.Errorf("cannot make %s for %s: %w", filepath.Join(p.WorkDir, name), p.RunUser, err)
	}
	return nil
}

// makeOwned makes dir/name and gives it to uid and gid, directory by directory
// through descriptors and following no link, so that nobody can lead root
// elsewhere. It makes and gives away nothing below a directory that anyone but
// root can write. What exists is left as it is, but for an empty directory of
// root's: that is what a crash in here leaves.
func makeOwned(dir, name string, uid, gid int) error {
	at, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(at) }()
	path := filepath.Join(resolveLinks(dir), name)
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i, part := range parts {
		if !isRootsAlone(at) {
			return nil
		}
		next, err := enterDirectory(at, part)
		if err != nil {
			return fmt.Errorf("at %s: %w", "/"+filepath.Join(parts[:i+1]...), err)
		}
		_ = unix.Close(at)
		at = next
	}
	if !isRootsAlone(at) || !isEmpty(at) {
		return nil
	}
	return unix.Fchown(at, uid, gid)
}

// resolveLinks is dir with the links in its existing part followed; what they lead
// to is checked afterwards, directory by directory.
func resolveLinks(dir string) string {
	for rest := ""; ; dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		if dir == "/" {
			return filepath.Join(dir, rest)
		}
	}
}

// enterDirectory opens the directory part of at, which is made when missing.
func enterDirectory(at int, part string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	next, err := unix.Openat(at, part, flags, 0)
	if !errors.Is(err, unix.ENOENT) {
		return next, err
	}
	if err := unix.Mkdirat(at, part, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	next, err = unix.Openat(at, part, flags, 0)
	if err != nil {
		return -1, err
	}
	return next, errors.Join(unix.Fchmod(next, 0o755), unix.Fsync(at)) // whatever the umask is
}

// isRootsAlone: only root can write the directory.
func isRootsAlone(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Uid == 0 && st.Mode&0o022 == 0
}

func isEmpty(fd int) bool {
	again, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(again), "")
	defer func() { _ = f.Close() }()
	names, _ := f.Readdirnames(1)
	return len(names) == 0
}

func dirOf(p plan.Place, name string) job.Dir {
	return job.Dir{Path: filepath.Join(p.WorkDir, name), Name: name}
}
