package agent

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/updater/job"
)

// Names of what an install leaves behind when it is cut short, and of what a
// prune was removing.
const (
	partPrefix    = ".part-"
	stagingPrefix = ".staging-"
	trashPrefix   = ".trash-"
)

// Prune removes every complete version that is not kept, what interrupted
// installs left, and downloads that nobody will resume. The version that
// .version names stays in any case; directories that are no version (they have
// no control) are not ours and stay too. While .version names nothing that is there, only
// what is dropped goes. It returns the versions it removed.
//
// A version is renamed out of the way first: a directory named like a version
// is complete, also while it is being removed.
func (d Dir) Prune(job job.Prune) ([]string, error) {
	current, err := d.Current()
	if err != nil {
		return nil, err
	}
	versions, err := d.Versions()
	if err != nil {
		return nil, err
	}
	surplus := d.surplusVersions(versions, current, job)
	if _, err := os.Lstat(d.file(versionFile)); err == nil && !d.Complete(current) { // damaged: which of them runs is not known
		surplus = slices.DeleteFunc(surplus, func(v string) bool { return v != job.Drop })
	}
	var removed []string
	var errs []error
	for _, v := range surplus {
		faultpoint.Hit("prune")
		if err := os.Rename(d.file(v), d.file(trashPrefix+v)); err != nil {
			errs = append(errs, fmt.Errorf("cannot remove %s %s: %w", d.Name, v, err))
			continue
		}
		removed = append(removed, v)
	}
	return removed, errors.Join(append(errs, d.sweepLeftovers(job.Wanted))...)
}

// surplusVersions is what of versions goes.
func (d Dir) surplusVersions(versions []string, current string, job job.Prune) []string {
	room := job.Count
	versions = slices.DeleteFunc(versions, func(v string) bool {
		kept := v == current || slices.Contains(job.Keep, v) && v != job.Drop
		if kept {
			room--
		}
		return kept
	})
	slices.SortFunc(versions, func(a, b string) int { return d.modifiedAt(b).Compare(d.modifiedAt(a)) })
	if i := slices.Index(versions, job.Drop); i >= 0 {
		versions = append(slices.Delete(versions, i, i+1), job.Drop)
		room = min(room, len(versions)-1)
	}
	return versions[min(max(room, 0), len(versions)):]
}

func (d Dir) modifiedAt(version string) time.Time {
	fi, err := os.Lstat(d.file(version))
	if err != nil {
		return time.Time{}
	}
	return fi.ModTime()
}

// sweepLeftovers removes staging directories, trash, half-written files, and parts of
// other versions.
func (d Dir) sweepLeftovers(wanted string) error {
	entries, err := os.ReadDir(d.Path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot sweep %s: %w", d.Path, err)
	}
	var errs []error
	for _, e := range entries {
		name := e.Name()
		stale := strings.HasPrefix(name, stagingPrefix) || strings.HasPrefix(name, trashPrefix) || isHalfWritten(name) ||
			strings.HasPrefix(name, partPrefix) && !d.isPartOf(name, wanted)
		if !stale {
			continue
		}
		if err := os.RemoveAll(d.file(name)); err != nil {
			errs = append(errs, fmt.Errorf("cannot remove %s: %w", d.file(name), err))
		}
	}
	return errors.Join(errs...)
}

// isHalfWritten: what package atomicfile was writing of one of our own files.
func isHalfWritten(name string) bool {
	return strings.HasPrefix(name, "..") && strings.Contains(name, ".tmp-")
}

// isPartOf: .part-{name}-{version}, or without the name as older sidecars had
// it, and the same with an extension for what is noted beside it.
func (d Dir) isPartOf(file, version string) bool {
	file = partPrefix + strings.TrimPrefix(strings.TrimPrefix(file, partPrefix), d.Name+"-")
	rest, ok := strings.CutPrefix(file, partPrefix+version)
	return version != "" && ok && (rest == "" || rest == ".json")
}
