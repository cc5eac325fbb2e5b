//go:build !linux

package install

import (
	"os"
	"time"
)

func syncWhole(*os.File, time.Duration) error { return errNoSyncfs }
