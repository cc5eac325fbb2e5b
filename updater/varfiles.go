package updater

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/ops-updater/ops-updater/internal/plainfile"
)

// The files of the var directory beside the state that is JSON.
const (
	lockName    = "lock"
	pidName     = "app.pid"
	journalName = "journal"
)

// maxAside bounds how many damaged files are kept for those who look for the
// reason.
const maxAside = 20

// clearVar moves out of the way what is in the var directory where our own
// files belong and is not a file of ours: it would keep us waiting, or lead
// what we write elsewhere. Whoever calls it holds the lock of the directory.
func clearVar(dir string) []error {
	var aside []error
	for _, name := range []string{pidName, LogName, crashName} {
		path := filepath.Join(dir, name)
		if err := plainfile.Check(path); err != nil {
			aside = append(aside, plainfile.SetAside(path, err))
		}
	}
	journal := filepath.Join(dir, journalName)
	if fi, err := os.Lstat(journal); err == nil && !fi.IsDir() {
		err := &plainfile.Error{Path: journal, Why: "it is " + plainfile.Kind(fi.Mode())}
		aside = append(aside, plainfile.SetAside(journal, err))
	}
	return aside
}

// filesAside are the damaged files below the var directory, oldest first.
func filesAside(dir string) []string {
	var files []string
	for _, pattern := range []string{"*", journalName + "/*"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern+plainfile.AsideMark+"*"))
		files = append(files, found...)
	}
	modified := func(path string) int64 {
		fi, err := os.Lstat(path)
		if err != nil {
			return 0
		}
		return fi.ModTime().UnixNano()
	}
	slices.SortStableFunc(files, func(a, b string) int { return int(min(max(modified(a)-modified(b), -1), 1)) })
	return files
}

// damageBook keeps what was found damaged since this process began.
type damageBook struct {
	mu   sync.Mutex
	said []string
}

func (b *damageBook) addDamage(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.said) < maxAside {
		b.said = append(b.said, err.Error())
	}
}

func (b *damageBook) listDamage() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.said)
}

// Damage is what was found damaged in the var directory and set aside.
func (e *Engine) Damage() []string { return e.damage.listDamage() }

// checkAside warns of files that were damaged, until somebody has removed them.
func checkAside(dir string) []Finding {
	var findings []Finding
	for _, path := range filesAside(dir) {
		findings = append(findings, Finding{
			Name: "var_dir", Verdict: VerdictWarn,
			Detail: path + " was damaged, or no file of the sidecar's, and was set aside",
			Mend:   "look why (a power cut, a full disk, another program), then remove it",
		})
	}
	for _, name := range []string{lockName, pidName, LogName, crashName, desiredName, holdsName, heardName} {
		path := filepath.Join(dir, name)
		fi, err := os.Lstat(path)
		if err != nil || fi.Mode().IsRegular() {
			continue
		}
		findings = append(findings, Finding{
			Name: "var_dir", Verdict: VerdictWarn, Detail: path + " is " + plainfile.Kind(fi.Mode()) + ", and a plain file belongs there",
			Mend: "remove it; the sidecar sets it aside when it starts",
		})
	}
	return findings
}

// openLock opens the file of the lock; what is there and no plain file is set
// aside.
func openLock(path string, had *os.File) (f *os.File, aside []error, err error) {
	if had != nil {
		was, err := had.Stat()
		is, gone := os.Lstat(path)
		if err == nil && gone == nil && os.SameFile(was, is) {
			return had, nil, nil
		}
		_ = had.Close() // another var directory, or somebody cleared this one
	}
	f, err = plainfile.Append(path)
	if _, other := errors.AsType[*plainfile.Error](err); other {
		if isLocked(path) {
			return nil, nil, fmt.Errorf("%w with %s", ErrRunning, filepath.Dir(path))
		}
		aside = append(aside, plainfile.SetAside(path, err))
		f, err = plainfile.Append(path)
	}
	if errors.Is(err, syscall.EROFS) { // what is there can be locked all the same
		if f, err := plainfile.Open(path); err == nil {
			return f, aside, nil
		}
	}
	if err != nil {
		return nil, aside, fmt.Errorf("cannot lock var_dir: %w", err)
	}
	return f, aside, nil
}

// isLocked reports whether a file of several names is locked: setting it aside
// would let two sidecars work in one directory.
func isLocked(path string) bool {
	f, err := plainfile.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
