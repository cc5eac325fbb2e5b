// Package sim is a fleet of simulated hosts: they send heartbeats in both
// dialects, obey what they are told by simulated upgrades, fail where they
// are told to fail, restart, and change. The same seed gives the same hosts
// with the same fate, whatever the order in which they are served.
//
// It speaks to loopback addresses only, and every run is bounded.
package sim

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"
)

// Bounds of a run.
const (
	MaxHosts    = 2_000_000
	MaxDuration = time.Hour
	MaxWorkers  = 4096
)

// Agent is what every host runs at first.
type Agent struct {
	Name    string
	Version string // empty: not installed
}

// Failure makes a version fail on a share of the hosts: they roll back.
type Failure struct {
	Agent   string
	Version string
	Share   float64 // 0 to 1
}

// Config is a fleet and how it is driven.
type Config struct {
	Server   string // http://HOST:PORT, loopback
	Hosts    int
	Prefix   string // of the hosts' names [host]
	Seed     uint64
	Agents   []Agent
	Failures []Failure
	Arches   []string // hosts take turns [linux_amd64]
	Labels   bool     // hosts have labels zone and rack

	Legacy   float64 // share of hosts that speak the older dialect
	Changed  float64 // share of heartbeats that report another status
	Restarts float64 // share of heartbeats sent after a reboot

	Interval  time.Duration // between a host's heartbeats, unless the server says otherwise; 0: as fast as possible
	Upgrade   time.Duration // from being told a version to running it
	Probation time.Duration // from running it to being content with it

	Workers     int  // connections, or heartbeats at once [64]
	NoKeepAlive bool // a connection per heartbeat
	Conditional bool // send If-None-Match

	Count    int64         // heartbeats at most; 0: no limit
	Duration time.Duration // at most; 0: no limit, but MaxDuration
}

func (c Config) withDefaults() Config {
	if c.Prefix == "" {
		c.Prefix = "host"
	}
	if c.Workers == 0 {
		c.Workers = 64
	}
	if len(c.Arches) == 0 {
		c.Arches = []string{"linux_amd64"}
	}
	if c.Duration == 0 {
		c.Duration = MaxDuration
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Hosts < 1 || c.Hosts > MaxHosts:
		return fmt.Errorf("hosts must be 1 to %d, not %d", MaxHosts, c.Hosts)
	case c.Workers < 1 || c.Workers > MaxWorkers:
		return fmt.Errorf("workers must be 1 to %d, not %d", MaxWorkers, c.Workers)
	case c.Duration < 0 || c.Duration > MaxDuration:
		return fmt.Errorf("duration must be at most %v, not %v", MaxDuration, c.Duration)
	case c.Count < 0 || c.Interval < 0 || c.Upgrade < 0 || c.Probation < 0:
		return errors.New("count, interval, upgrade and probation must not be negative")
	}
	shares := []float64{c.Legacy, c.Changed, c.Restarts}
	for _, f := range c.Failures {
		shares = append(shares, f.Share)
	}
	for _, s := range shares {
		if !(s >= 0 && s <= 1) {
			return fmt.Errorf("a share must be 0 to 1, not %v", s)
		}
	}
	return nil
}

// serverAddress is the server's host:port, if it is on loopback.
func (c Config) serverAddress() (string, error) {
	u, err := url.Parse(c.Server)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return "", fmt.Errorf("server %q is not an http URL", c.Server)
	}
	addr, err := netip.ParseAddrPort(u.Host)
	if err != nil || !addr.Addr().IsLoopback() {
		return "", fmt.Errorf("server %q is not a loopback address with a port such as http://127.0.0.1:2002", c.Server)
	}
	return u.Host, nil
}
