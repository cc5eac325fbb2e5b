// Package config is cfg.json: its keys, their defaults, what may be set, and
// how the running sidecar reads it again. No other package has defaults of its
// own.
package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// Config is what cfg.json says, with defaults filled in and every path made
// absolute. It is never changed after [Load]; a reload makes a new one.
type Config struct {
	Path string // of the file itself

	Debug    bool
	LogLevel string // trace, debug, info, warn or error
	Log      Log
	HTTP     HTTP

	Hostname string // never empty: the operating system's unless configured
	IP       string // empty: the local address of the route to the server
	Labels   map[string]string

	Servers  []string // tried in order
	Dialect  meta.Dialect
	Interval time.Duration
	Proxy    string // empty: from the environment
	TLS      TLS
	Token    string // bearer credential for the servers, or empty

	// EnrolToken is exchanged for a credential; set where there is none yet, and one is to
	// be had by it.
	EnrolToken     string
	enrolTokenFile string

	Trust  Trust
	Policy plan.Policy

	WorkDir      string // of agents for which the server names none
	VarDir       string
	DesiredAgent string // open-falcon's key: the only agent to look after, or empty for all
	CreateUsers  bool
	Env          map[string]string // added to the environment of control scripts

	Concurrency   int // agents worked on at once
	Keep          int // complete versions kept per agent
	Probation     time.Duration
	StartTimeout  time.Duration
	StopTimeout   time.Duration
	StatusTimeout time.Duration

	MaxDownloadRate int64 // bytes a second; 0: unlimited
	MaxDownloadSize int64
	MaxUnpackedSize int64
	MaxFiles        int
	Reserve         int64 // bytes that an install leaves free
	StallTimeout    time.Duration
	Retries         int

	// What no key of cfg.json sets.
	MaxRemoteConfig int64         // bytes of an agent's remote config
	SyncTimeout     time.Duration // of one syncfs, before files are synced one by one
	CheckEvery      time.Duration // how often a crashed agent is looked for
	ConfigEvery     time.Duration // how often remote configs are looked at
}

// HTTP is the local HTTP interface.
type HTTP struct {
	Enabled bool
	Listen  string
	Pprof   bool
}

// Log is when the log file is rotated and how much of it stays.
type Log struct {
	MaxSize    int64 // bytes
	MaxBackups int
}

// TLS is how servers are verified and what we show them.
type TLS struct {
	CAFile, CertFile, KeyFile string
	Insecure                  bool
}

// maxFileSize is far above any real file; it keeps a wrong path, such as a
// device, from filling memory.
const maxFileSize = 1 << 20

// Default is the configuration of a file that says nothing.
func Default() Config {
	return Config{
		LogLevel:        "info",
		Log:             Log{MaxSize: 10 << 20, MaxBackups: 5},
		HTTP:            HTTP{Listen: "127.0.0.1:2001"},
		Dialect:         meta.DialectAuto,
		Interval:        5 * time.Minute,
		WorkDir:         ".",
		VarDir:          "var",
		Concurrency:     4,
		Keep:            2,
		Probation:       30 * time.Second,
		StartTimeout:    time.Minute,
		StopTimeout:     time.Minute,
		StatusTimeout:   10 * time.Second,
		MaxDownloadSize: 4 << 30,
		MaxUnpackedSize: 16 << 30,
		MaxFiles:        200_000,
		Reserve:         256 << 20,
		StallTimeout:    30 * time.Second,
		Retries:         5,
		MaxRemoteConfig: 4 << 20,
		SyncTimeout:     30 * time.Second,
		CheckEvery:      30 * time.Second,
		ConfigEvery:     time.Minute,
	}
}

// Load reads and checks the file at path. An error names the file, the
// line, the key and what is wanted instead.
func Load(path string) (Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return Config{}, fmt.Errorf("cannot find %s: %w", path, err)
	}
	data, err := readFile(abs)
	if err != nil {
		return Config{}, fmt.Errorf("cannot read the configuration: %w", err)
	}
	c := Default()
	c.Path = abs
	if err := parseFile(&c, filepath.Base(path), data); err != nil {
		return Config{}, err
	}
	return c, c.completeAndCheck()
}

func readFile(path string) ([]byte, error) {
	return plainfile.ReadLinked(path, maxFileSize)
}

// completeAndCheck makes paths absolute, fills in the host name and checks what only the
// whole file can show.
func (c *Config) completeAndCheck() error {
	dir := filepath.Dir(c.Path)
	for _, p := range []*string{&c.WorkDir, &c.VarDir, &c.TLS.CAFile, &c.TLS.CertFile, &c.TLS.KeyFile} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
		*p = cleanPath(*p)
	}
	file := filepath.Base(c.Path)
	switch {
	case len(c.Servers) == 0:
		return fmt.Errorf("%s: server is missing: want the address of ops-meta, such as \"meta.example:2000\"", file)
	case (c.TLS.CertFile == "") != (c.TLS.KeyFile == ""):
		return fmt.Errorf("%s: cert_file and key_file are wanted together, or neither", file)
	case c.Keep < 2:
		return fmt.Errorf("%s: keep is %d: want at least 2, the current version and the previous one", file, c.Keep)
	}
	if err := c.Trust.complete(); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := c.findCredential(); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return c.findHostname()
}

func (c *Config) findHostname() error {
	if c.Hostname != "" {
		return nil
	}
	name, err := os.Hostname()
	if err == nil && name == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return fmt.Errorf("cannot tell this host's name, set hostname: %w", err)
	}
	c.Hostname = name
	return nil
}

func cleanPath(p string) string {
	if p == "" {
		return ""
	}
	return filepath.Clean(p)
}

// changesNeedingRestart names the keys that differ between the running
// configuration and next but are only read at start.
func (c Config) changesNeedingRestart(next Config) []string {
	var keys []string
	if c.VarDir != next.VarDir {
		keys = append(keys, "var_dir")
	}
	if c.Log != next.Log {
		keys = append(keys, "log")
	}
	if c.HTTP != next.HTTP {
		keys = append(keys, "http")
	}
	return keys
}
