package config

import (
	"net"
	"net/netip"
	"net/url"

	"github.com/ops-updater/ops-updater/meta"
)

// Warnings are what an operator should know about c at every start.
func (c Config) Warnings() []string {
	var w []string
	if c.TLS.Insecure {
		w = append(w, "insecure is true: the server's certificate is not verified, anybody on the way can tell this host what to run")
	}
	if c.Token != "" || c.EnrolToken != "" {
		for _, s := range c.Servers {
			if isReadableByOthers(s) {
				w = append(w, "the token goes to "+s+" without TLS: anybody on the way can read it")
			}
		}
	}
	if host, _, err := net.SplitHostPort(c.HTTP.Listen); c.HTTP.Enabled && err == nil && !isLoopback(host) {
		w = append(w, "http.listen "+c.HTTP.Listen+" can be reached from other hosts")
	}
	return append(w, c.Trust.warnings()...)
}

// isReadableByOthers reports whether others can read what is sent to server.
func isReadableByOthers(server string) bool {
	base, err := meta.ServerURL(server)
	if err != nil {
		return false
	}
	u, err := url.Parse(base)
	return err == nil && u.Scheme == "http" && !isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
