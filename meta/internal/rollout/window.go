package rollout

import (
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // windows name zones also on hosts that have no zone files

	"github.com/ops-updater/ops-updater/meta/api"
)

// Open reports whether w lets grants be made at now. A window that runs past
// midnight belongs to the day it begins on. No window is always open, one that can't be read
// never is.
func Open(w *api.Window, now time.Time) bool {
	if w == nil {
		return true
	}
	zone, err := loadZone(w.Zone)
	from, okFrom := minutesOfDay(w.From)
	to, okTo := minutesOfDay(w.To)
	if err != nil || !okFrom || !okTo {
		return false
	}
	local := now.In(zone)
	at := local.Hour()*60 + local.Minute()
	today, yesterday := onDay(w, local.Weekday()), onDay(w, (local.Weekday()+6)%7)
	if from < to {
		return today && at >= from && at < to
	}
	return today && at >= from || yesterday && at < to
}

// zones are those that were read before: reading one takes longer than all else
// that decides about a host.
var zones sync.Map

func loadZone(name string) (*time.Location, error) {
	if known, ok := zones.Load(name); ok {
		return known.(*time.Location), nil
	}
	zone, err := time.LoadLocation(name)
	if err == nil { // only what there is, of which there are a few hundred
		zones.Store(name, zone)
	}
	return zone, err
}

// NextOpen is the first moment from now on at which w is open, to the minute;
// false when there is none within eight days.
func NextOpen(w *api.Window, now time.Time) (time.Time, bool) {
	if Open(w, now) {
		return now, true
	}
	next := now.Truncate(time.Minute)
	for range 8 * 24 * 60 {
		next = next.Add(time.Minute)
		if Open(w, next) {
			return next, true
		}
	}
	return time.Time{}, false
}

func minutesOfDay(clock string) (int, bool) {
	t, err := time.Parse("15:04", clock)
	return t.Hour()*60 + t.Minute(), err == nil
}

func onDay(w *api.Window, day time.Weekday) bool {
	if len(w.Days) == 0 {
		return true
	}
	return slices.Contains(w.Days, strings.ToLower(day.String()[:3]))
}
