package config

import (
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-version"

	"github.com/ops-updater/ops-updater/internal/username"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/plan"
)

var policyKeys = []key{
	{name: "agents", set: listKey(func(c *Config) *[]string { return &c.Policy.Agents }, checkGlob)},
	{name: "run_users", set: listKey(func(c *Config) *[]string { return &c.Policy.RunUsers }, checkUser)},
	{name: "work_dirs", set: listKey(func(c *Config) *[]string { return &c.Policy.WorkDirs }, checkWorkDir)},
	{name: "tarball_hosts", set: listKey(func(c *Config) *[]string { return &c.Policy.TarballHosts }, checkHost)},
	{name: "downgrade", set: setDowngrade},
	{name: "min_versions", set: setMinVersions},
	{name: "windows", set: setWindows},
}

// listKey takes a list of strings. An empty one is an error: it would look like
// nothing is allowed, and an absent one allows everything.
func listKey(at func(*Config) *[]string, check func(string) error) func(*Config, json.RawMessage) error {
	return func(c *Config, raw json.RawMessage) error {
		var list []string
		if err := decodeAs(raw, &list, "a list of strings"); err != nil {
			return err
		}
		if len(list) == 0 {
			return fmt.Errorf("the list is empty: name what is allowed, or leave the key out to allow everything")
		}
		for _, entry := range list {
			if err := check(entry); err != nil {
				return err
			}
		}
		*at(c) = list
		return nil
	}
}

func setDowngrade(c *Config, raw json.RawMessage) error {
	var allowed bool
	if err := decodeAs(raw, &allowed, "true or false"); err != nil {
		return err
	}
	c.Policy.NoDowngrade = !allowed
	return nil
}

func checkGlob(s string) error {
	if _, err := path.Match(s, ""); err != nil || s == "" || strings.Contains(s, "/") {
		return fmt.Errorf("%q is not a pattern of agents' names, such as \"falcon-*\"", s)
	}
	return nil
}

func checkUser(s string) error {
	if !username.Valid(s) {
		return fmt.Errorf("%q is not a user name", s)
	}
	return nil
}

func checkWorkDir(s string) error {
	if !filepath.IsAbs(s) || filepath.Clean(s) != s {
		return fmt.Errorf("%q is not an absolute, clean path such as /opt/agents", s)
	}
	return nil
}

var hostRule = regexp.MustCompile(`^(\*\.)?([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)

func checkHost(s string) error {
	if !hostRule.MatchString(s) || strings.HasPrefix(s, "*.") && strings.Contains(s, ":") {
		return fmt.Errorf("%q is not a host: want \"releases.example\", \"releases.example:8443\" or \"*.example\"", s)
	}
	return nil
}

func setMinVersions(c *Config, raw json.RawMessage) error {
	var least map[string]string
	if err := decodeAs(raw, &least, `an object of versions by agent, such as {"falcon-agent": "5.1.0"}`); err != nil {
		return err
	}
	for name, v := range least {
		if !meta.ValidName(name) {
			return fmt.Errorf("%q is not an agent's name", name)
		}
		if _, err := version.NewVersion(v); err != nil {
			return fmt.Errorf("%s: %q is not a version that others can be compared with, such as 5.1.0", name, v)
		}
	}
	c.Policy.MinVersions = least
	return nil
}

// maxWindows bounds what every plan looks through.
const maxWindows = 100

func setWindows(c *Config, raw json.RawMessage) error {
	var texts []string
	var one string
	if json.Unmarshal(raw, &one) == nil {
		texts = []string{one}
	} else if err := decodeAs(raw, &texts, `windows such as "Mon-Fri 02:00-05:00", or a list of them`); err != nil {
		return err
	}
	if len(texts) == 0 || len(texts) > maxWindows {
		return fmt.Errorf("want 1 to %d windows, or leave the key out to allow changes at any time", maxWindows)
	}
	c.Policy.Windows = nil
	for _, text := range texts {
		w, err := parseWindow(text)
		if err != nil {
			return err
		}
		c.Policy.Windows = append(c.Policy.Windows, w)
	}
	return nil
}

var (
	weekdays  = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	hoursRule = regexp.MustCompile(`^([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})$`)
)

// parseWindow reads “[days ]from-to[ zone]”.
func parseWindow(text string) (plan.Window, error) {
	w := plan.Window{Zone: time.Local, Text: text}
	fail := func(why string) (plan.Window, error) {
		return w, fmt.Errorf("%q is not a window: %s; want [DAYS ]FROM-TO[ ZONE], such as \"02:00-05:00\", \"Mon-Fri 22:00-04:00\" or \"Sat,Sun 00:00-24:00 UTC\"", text, why)
	}
	words := strings.Fields(text)
	if len(words) > 0 && !hoursRule.MatchString(words[0]) {
		days, ok := parseDays(words[0])
		if !ok {
			return fail("it begins with neither days nor hours")
		}
		w.Days, words = days, words[1:]
	} else {
		w.Days = [7]bool{true, true, true, true, true, true, true}
	}
	if len(words) == 0 || len(words) > 2 {
		return fail("hours are wanted after the days, and a time zone at most after those")
	}
	m := hoursRule.FindStringSubmatch(words[0])
	if m == nil {
		return fail("its hours cannot be read")
	}
	var ok bool
	if w.From, ok = timeOfDay(m[1], m[2]); !ok || w.From == 24*time.Hour {
		return fail("no day has the time that it begins at")
	}
	if w.To, ok = timeOfDay(m[3], m[4]); !ok || w.To == w.From {
		return fail("its end is no time of a day, or its beginning")
	}
	if len(words) == 2 {
		zone, err := time.LoadLocation(words[1])
		if err != nil {
			return fail("this host knows no time zone " + strconv.Quote(words[1]))
		}
		w.Zone = zone
	}
	return w, nil
}

func timeOfDay(hours, minutes string) (time.Duration, bool) {
	h, _ := strconv.Atoi(hours)
	m, _ := strconv.Atoi(minutes)
	d := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
	return d, m < 60 && d <= 24*time.Hour
}

// parseDays reads days such as Mon-Fri,Sun.
func parseDays(text string) (days [7]bool, ok bool) {
	for part := range strings.SplitSeq(strings.ToLower(text), ",") {
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		from, to := slices.Index(weekdays, first), slices.Index(weekdays, last)
		if from < 0 || to < 0 {
			return days, false
		}
		for day := from; ; day = (day + 1) % 7 {
			days[day] = true
			if day == to {
				break
			}
		}
	}
	return days, true
}
