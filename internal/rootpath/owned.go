package rootpath

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CheckTree returns an [*Error] unless everything in the tree at dir belongs
// to uid or to root; for root, it must also be only root's to write. That is
// for taking over what somebody else may have had before.
func CheckTree(dir string, uid int) error {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		return checkOwned(path, fi, uid)
	})
	if err != nil {
		return fmt.Errorf("cannot take %s over: %w", dir, err)
	}
	return nil
}

// CheckOwner is [CheckTree] for what lies at path alone.
func CheckOwner(path string, uid int) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return err
	}
	return checkOwned(path, fi, uid)
}

func checkOwned(path string, fi fs.FileInfo, uid int) error {
	if uid == 0 {
		return checkInfo(path, fi)
	}
	if has := ownerOf(fi); has != 0 && has != uint32(uid) {
		me := userName(uint32(uid))
		return &Error{path, path, "belongs to " + userName(has), "look at it before you give it to " + me + " with chown -R, or use another workDir"}
	}
	return nil
}
