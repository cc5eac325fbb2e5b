package install

import (
	"errors"
	"io/fs"
	"time"
)

// errNoSyncfs: one call for the whole tree is not to be had here, or takes too
// long.
var errNoSyncfs = errors.New("the filesystem is not synced as a whole")

// syncTree puts the tree called name on the disk: with one syncfs where there is
// one and it does not drag a busy filesystem along for ever, otherwise file by
// file.
func (p *place) syncTree(name string, patience time.Duration) error {
	err := syncWhole(p.dir, patience)
	if errors.Is(err, errNoSyncfs) {
		return p.syncEach(name)
	}
	return err
}

// syncEach syncs every file and directory of the tree, directories after what
// they hold.
func (p *place) syncEach(name string) error {
	tree, err := p.root.OpenRoot(name)
	if err != nil {
		return err
	}
	defer tree.Close() //nolint:errcheck // only read
	var dirs []string
	err = fs.WalkDir(tree.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			dirs = append(dirs, path)
			return nil
		case e.Type().IsRegular():
			return syncDir(tree, path)
		default: // a link is content of its directory
			return nil
		}
	})
	for i := len(dirs) - 1; i >= 0 && err == nil; i-- {
		err = syncDir(tree, dirs[i])
	}
	return err
}
