package config

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/timespan"
	"github.com/ops-updater/ops-updater/meta"
)

// key is one key of cfg.json. A key holds either a value or, with keys,
// an object of its own.
type key struct {
	name string
	set  func(*Config, json.RawMessage) error
	keys []key
}

// allKeys are all keys there are; docs/CONFIG.md explains each.
var allKeys = []key{
	{name: "debug", set: booleanKey(func(c *Config) *bool { return &c.Debug })},
	{name: "log_level", set: choiceKey(func(c *Config) *string { return &c.LogLevel }, "trace", "debug", "info", "warn", "error")},
	{name: "log", keys: []key{
		{name: "max_size", set: sizeKey(func(c *Config) *int64 { return &c.Log.MaxSize }, 1<<20)},
		{name: "max_backups", set: numberKey(func(c *Config) *int { return &c.Log.MaxBackups }, 0, 1000)},
	}},
	{name: "http", keys: []key{
		{name: "enabled", set: booleanKey(func(c *Config) *bool { return &c.HTTP.Enabled })},
		{name: "listen", set: checkedKey(func(c *Config) *string { return &c.HTTP.Listen }, checkListen)},
		{name: "pprof", set: booleanKey(func(c *Config) *bool { return &c.HTTP.Pprof })},
	}},

	{name: "hostname", set: checkedKey(func(c *Config) *string { return &c.Hostname }, checkHostname)},
	{name: "ip", set: checkedKey(func(c *Config) *string { return &c.IP }, checkIP)},
	{name: "labels", set: mapKey(func(c *Config) *map[string]string { return &c.Labels }, nil)},

	{name: "server", set: setServers},
	{name: "dialect", set: choiceKey(func(c *Config) *meta.Dialect { return &c.Dialect }, meta.DialectAuto, meta.DialectV1, meta.DialectLegacy)},
	{name: "interval", set: durationKey(func(c *Config) *time.Duration { return &c.Interval }, time.Second)},
	{name: "proxy", set: checkedKey(func(c *Config) *string { return &c.Proxy }, checkProxy)},
	{name: "ca_file", set: textKey(func(c *Config) *string { return &c.TLS.CAFile })},
	{name: "cert_file", set: textKey(func(c *Config) *string { return &c.TLS.CertFile })},
	{name: "key_file", set: textKey(func(c *Config) *string { return &c.TLS.KeyFile })},
	{name: "insecure", set: booleanKey(func(c *Config) *bool { return &c.TLS.Insecure })},
	{name: "token", set: checkedKey(func(c *Config) *string { return &c.Token }, checkToken)},
	{name: "token_file", set: setTokenFromFile},
	{name: "enroll_token", set: checkedKey(func(c *Config) *string { return &c.EnrolToken }, checkToken)},
	{name: "enroll_token_file", set: textKey(func(c *Config) *string { return &c.enrolTokenFile })},

	{name: "trust", keys: trustKeys},
	{name: "policy", keys: policyKeys},

	{name: "work_dir", set: textKey(func(c *Config) *string { return &c.WorkDir })},
	{name: "var_dir", set: textKey(func(c *Config) *string { return &c.VarDir })},
	{name: "desiredAgent", set: checkedKey(func(c *Config) *string { return &c.DesiredAgent }, checkAgentName)},
	{name: "create_users", set: booleanKey(func(c *Config) *bool { return &c.CreateUsers })},
	{name: "env", set: mapKey(func(c *Config) *map[string]string { return &c.Env }, envName)},

	{name: "concurrency", set: numberKey(func(c *Config) *int { return &c.Concurrency }, 1, 256)},
	{name: "keep", set: numberKey(func(c *Config) *int { return &c.Keep }, 2, 1000)},
	{name: "probation", set: durationKey(func(c *Config) *time.Duration { return &c.Probation }, time.Millisecond)},
	{name: "start_timeout", set: durationKey(func(c *Config) *time.Duration { return &c.StartTimeout }, time.Second)},
	{name: "stop_timeout", set: durationKey(func(c *Config) *time.Duration { return &c.StopTimeout }, time.Second)},
	{name: "status_timeout", set: durationKey(func(c *Config) *time.Duration { return &c.StatusTimeout }, time.Second)},

	{name: "max_download_rate", set: sizeKey(func(c *Config) *int64 { return &c.MaxDownloadRate }, 0)},
	{name: "max_download_size", set: sizeKey(func(c *Config) *int64 { return &c.MaxDownloadSize }, 1)},
	{name: "max_unpacked_size", set: sizeKey(func(c *Config) *int64 { return &c.MaxUnpackedSize }, 1)},
	{name: "max_files", set: numberKey(func(c *Config) *int { return &c.MaxFiles }, 1, 100_000_000)},
	{name: "reserve", set: sizeKey(func(c *Config) *int64 { return &c.Reserve }, 0)},
	{name: "stall_timeout", set: durationKey(func(c *Config) *time.Duration { return &c.StallTimeout }, time.Second)},
	{name: "retries", set: numberKey(func(c *Config) *int { return &c.Retries }, 0, 100)},
}

// Keys lists every key of cfg.json, those of objects as "http.listen".
func Keys() []string { return namesOf("", allKeys) }

func namesOf(prefix string, keys []key) []string {
	var names []string
	for _, k := range keys {
		names = append(names, prefix+k.name)
		names = append(names, namesOf(prefix+k.name+".", k.keys)...)
	}
	return names
}

func booleanKey(at func(*Config) *bool) func(*Config, json.RawMessage) error {
	return func(c *Config, raw json.RawMessage) error {
		return decodeAs(raw, at(c), "true or false")
	}
}

func textKey[S ~string](at func(*Config) *S) func(*Config, json.RawMessage) error {
	return checkedKey(at, func(S) error { return nil })
}

func checkedKey[S ~string](at func(*Config) *S, check func(S) error) func(*Config, json.RawMessage) error {
	return func(c *Config, raw json.RawMessage) error {
		var v S
		if err := decodeAs(raw, &v, "a string"); err != nil {
			return err
		}
		if strings.ContainsAny(string(v), "\x00\r\n") {
			return fmt.Errorf("want one line of text, got %s", raw)
		}
		if v != "" {
			if err := check(v); err != nil {
				return err
			}
		}
		*at(c) = v
		return nil
	}
}

func choiceKey[S ~string](at func(*Config) *S, allowed ...S) func(*Config, json.RawMessage) error {
	return func(c *Config, raw json.RawMessage) error {
		var v S
		want := fmt.Sprintf("one of %q", allowed)
		if err := decodeAs(raw, &v, want); err != nil {
			return err
		}
		if v == "" {
			return nil
		}
		if !slices.Contains(allowed, v) {
			return fmt.Errorf("want %s, got %q", want, v)
		}
		*at(c) = v
		return nil
	}
}

func numberKey(at func(*Config) *int, low, high int) func(*Config, json.RawMessage) error {
	return func(c *Config, raw json.RawMessage) error {
		want := fmt.Sprintf("a whole number from %d to %d", low, high)
		var v int
		if err := decodeAs(raw, &v, want); err != nil {
			return err
		}
		if v < low || v > high {
			return fmt.Errorf("want %s, got %d", want, v)
		}
		*at(c) = v
		return nil
	}
}

// maxDuration bounds every configured time.
const maxDuration = 7 * 24 * time.Hour

// durationKey takes a number of seconds, as the ancestors' interval, or text such
// as "90s" and "5m".
func durationKey(at func(*Config) *time.Duration, low time.Duration) func(*Config, json.RawMessage) error {
	return func(c *Config, raw json.RawMessage) error {
		d, ok := parseDuration(raw)
		if !ok || d < low || d > maxDuration {
			return fmt.Errorf("want seconds from %v to %v, such as 60 or \"5m\", got %s", low.Seconds(), maxDuration.Seconds(), raw)
		}
		*at(c) = d
		return nil
	}
}

func parseDuration(raw json.RawMessage) (time.Duration, bool) {
	var seconds float64
	if json.Unmarshal(raw, &seconds) == nil {
		if math.Abs(seconds) > maxDuration.Seconds() {
			return 0, false
		}
		return time.Duration(seconds * float64(time.Second)), string(raw) != "null"
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return 0, false
	}
	d, err := timespan.Parse(s)
	return d, err == nil
}

// sizeKey takes a number of bytes or text such as "10MB".
func sizeKey(at func(*Config) *int64, low int64) func(*Config, json.RawMessage) error {
	return func(c *Config, raw json.RawMessage) error {
		v, ok := parseSize(raw)
		if !ok || v < low {
			return fmt.Errorf("want bytes of at least %d, such as 1048576 or \"10MB\", got %s", low, raw)
		}
		*at(c) = v
		return nil
	}
}

var sizeRule = regexp.MustCompile(`(?i)^([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b)?(?:/s)?$`)

// parseSize reads units as powers of 1024.
func parseSize(raw json.RawMessage) (int64, bool) {
	var n int64
	if json.Unmarshal(raw, &n) == nil {
		return n, string(raw) != "null"
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return 0, false
	}
	m := sizeRule.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return 0, false
	}
	f, err := strconv.ParseFloat(m[1], 64)
	if m[2] != "" {
		f *= math.Pow(1024, float64(1+strings.Index("kmgt", strings.ToLower(m[2]))))
	}
	return int64(f), err == nil && f < 1<<62
}

func mapKey(at func(*Config) *map[string]string, name *regexp.Regexp) func(*Config, json.RawMessage) error {
	return func(c *Config, raw json.RawMessage) error {
		var v map[string]string
		if err := decodeAs(raw, &v, "an object of strings"); err != nil {
			return err
		}
		for k, s := range v {
			if name != nil && !name.MatchString(k) {
				return fmt.Errorf("%q is not a name of an environment variable: want %s", k, name)
			}
			if strings.ContainsRune(k+s, 0) {
				return fmt.Errorf("%q holds a zero byte", k)
			}
		}
		*at(c) = v
		return nil
	}
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// setServers takes one address, several divided by commas, or a list.
func setServers(c *Config, raw json.RawMessage) error {
	const want = `an address such as "meta.example:2000" or "https://meta.example", several divided by commas, or a list`
	var list []string
	var one string
	if json.Unmarshal(raw, &one) == nil {
		list = strings.Split(one, ",")
	} else if err := decodeAs(raw, &list, want); err != nil {
		return err
	}
	c.Servers = nil
	for _, s := range list {
		s = strings.TrimSpace(s)
		if s == "" {
			continue
		}
		if _, err := meta.ServerURL(s); err != nil {
			return fmt.Errorf("%w: want %s", err, want)
		}
		c.Servers = append(c.Servers, s)
	}
	return nil
}

// maxTokenSize is far above any credential.
const maxTokenSize = 64 << 10

// setTokenFromFile reads the credential now, so that a reload picks up a new one.
func setTokenFromFile(c *Config, raw json.RawMessage) error {
	var path string
	if err := decodeAs(raw, &path, "a string"); err != nil || path == "" {
		return err
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(c.Path), path)
	}
	token, err := ReadToken(path)
	c.Token = token
	return err
}

func checkToken(s string) error {
	for _, r := range s {
		if r <= ' ' || r > '~' {
			return fmt.Errorf("want printable characters without spaces")
		}
	}
	return nil
}

func checkListen(s string) error {
	if _, port, err := net.SplitHostPort(s); err != nil || port == "" {
		return fmt.Errorf("want host:port, such as \"127.0.0.1:2001\", got %q", s)
	}
	return nil
}

func checkHostname(s string) error {
	if !meta.ValidHostname(s) {
		return fmt.Errorf("%q is not a host name: %s", s, meta.HostnameHelp)
	}
	return nil
}

func checkIP(s string) error {
	if net.ParseIP(s) == nil {
		return fmt.Errorf("want an IP address, got %q", s)
	}
	return nil
}

func checkAgentName(s string) error {
	if !meta.ValidName(s) {
		return fmt.Errorf("%q is not an agent's name", s)
	}
	return nil
}

func checkProxy(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) {
		return fmt.Errorf("want an address such as \"http://proxy.example:3128\", got %q", meta.RedactURL(s))
	}
	return nil
}
