package backend

import (
	"errors"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta/api"
)

// maxNote bounds the files of one line in the data directory.
const maxNote = 4 << 10

// HintMakesOwn is for files of the data directory that can be missing.
const HintMakesOwn = "move it away; ops-meta makes one of its own"

// HintOddFile is err, with what to do about it when a file is no plain one.
func HintOddFile(err error, hint string) error {
	if _, odd := errors.AsType[*plainfile.Error](err); odd {
		return &api.Error{Kind: api.KindInvalid, Message: err.Error(), Hint: hint}
	}
	return err
}
