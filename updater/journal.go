package updater

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// journalFile is where the record of an agent is. Its only writer is the
// agent's keeper.
func (e *Engine) journalFile(name string) string {
	return filepath.Join(e.currentConfig().VarDir, journalName, name+".json")
}

// sweepState removes files that were half written when we were killed.
func (e *Engine) sweepState() {
	// Only with the lock of the directory: another process might be writing one.
	for _, pattern := range []string{".*.tmp-*", "journal/.*.tmp-*"} {
		stale, _ := filepath.Glob(filepath.Join(e.currentConfig().VarDir, pattern))
		for _, path := range stale {
			_ = os.Remove(path)
		}
	}
	aside := filesAside(e.currentConfig().VarDir)
	for _, path := range aside[:max(len(aside)-maxAside, 0)] {
		_ = os.RemoveAll(path)
	}
}

// journalledAgents lists the agents that have a record.
func (e *Engine) journalledAgents() []string {
	entries, err := os.ReadDir(filepath.Join(e.currentConfig().VarDir, journalName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		e.currentConfig().Log.Error().Err(err).Msg("cannot list the journal")
		return nil
	}
	var names []string
	for _, entry := range entries {
		for _, ext := range []string{".json", placeExt} {
			if name, ok := strings.CutSuffix(entry.Name(), ext); ok && meta.ValidName(name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// openRecord reads the record of name. One that cannot be read is set aside
// and begun anew: what is true is on the disk, and asked there.
func (e *Engine) openRecord(name string, access stateAccess) (plan.Record, error) {
	r := plan.Record{Name: name}
	if !meta.ValidName(name) {
		return r, nil
	}
	err := loadJSON(e.journalFile(name), access, &r)
	if err == nil && r.Name != name && access == readState {
		return plan.Record{Name: name}, fmt.Errorf("cannot use %s: it is about %.80q", e.journalFile(name), r.Name)
	}
	// A file that was copied or renamed by hand: what it says of another agent, above
	// all its quarantine, is not true of this one.
	if err == nil && r.Name != name {
		err = setAside(e.journalFile(name), fmt.Errorf("it is about %.80q", r.Name))
		r = plan.Record{Name: name}
	}
	if r.At != (plan.Place{}) || r.Txn != nil {
		return r, err
	}
	var w plan.Whereabouts
	if lost := loadJSON(e.placeFile(name), access, &w); lost != nil {
		return r, errors.Join(err, lost)
	}
	return r.FoundBy(w, time.Now()), err
}

// placeExt is the extension of the file that says where an agent is, apart from its
// journal: who lost that must not install the agent a second time, in another place.
const placeExt = ".place"

func (e *Engine) placeFile(name string) string {
	return filepath.Join(e.currentConfig().VarDir, journalName, name+placeExt)
}

// savePlace writes where the agent is, when that has changed.
func (k *keeper) savePlace() error {
	w := k.rec.Whereabouts()
	if k.isSelf() { // which says itself what is under way, see package takeover
		w = plan.Whereabouts{At: w.At}
	}
	if reflect.DeepEqual(w, k.placed) {
		return nil
	}
	if err := saveJSON(k.e.placeFile(k.name), w); err != nil {
		return fmt.Errorf("cannot write down where %s is: %w", k.name, err)
	}
	k.placed = w
	return nil
}
