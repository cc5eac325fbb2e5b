package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// publicURLPatience bounds each look at whether hosts can reach publicUrl.
const publicURLPatience = 3 * time.Second

// hintPublicURL is what helps in every case.
const hintPublicURL = "give --public-url (publicUrl) as hosts reach this server, such as http://ops-meta.example:2000: the addresses of tarballs begin with it"

// guessesPublicURL reports whether publicUrl has to be made from the name of
// this machine, because it is not given and the server listens everywhere. It
// wants the settings as they were given, before their defaults.
func (c Config) guessesPublicURL() bool {
	host, _, err := net.SplitHostPort(c.Listen)
	if c.PublicURL != "" || c.Listen == "" || err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

// unresolvedName is the host of publicUrl when its name has no address as seen
// from here, and empty otherwise.
func unresolvedName(ctx context.Context, publicURL string) string {
	u, err := url.Parse(publicURL)
	if err != nil {
		return publicURL
	}
	ctx, cancel := context.WithTimeout(ctx, publicURLPatience)
	defer cancel()
	if _, err := net.DefaultResolver.LookupHost(ctx, u.Hostname()); err != nil {
		return u.Hostname()
	}
	return ""
}

// warnOfGuessedURL says at the start what hosts will be told to download from.
func (s *Server) warnOfGuessedURL(ctx context.Context) {
	if !s.urlGuessed.Load() {
		return
	}
	publicURL := s.backend.Settings().PublicURL
	log := s.log.Warn().Str("publicUrl", publicURL)
	if name := unresolvedName(ctx, publicURL); name != "" {
		log = log.Str("unresolved", name)
	}
	log.Msg("publicUrl is not given, hosts are told this machine's own name: " + hintPublicURL)
}

// checkPublicURL asks publicUrl as a host would.
func (s care) checkPublicURL(ctx context.Context) api.Check {
	const name = "public URL"
	publicURL := s.backend.Settings().PublicURL
	if host := unresolvedName(ctx, publicURL); host != "" {
		return api.Checkf(name, api.CheckWarning, hintPublicURL, "%s: the name %s has no address here", publicURL, host)
	}
	if err := askHealth(ctx, publicURL); err != nil {
		return api.Checkf(name, api.CheckWarning, hintPublicURL, "%s cannot be reached from here: %v", publicURL, err)
	}
	if s.urlGuessed.Load() {
		return api.Checkf(name, api.CheckWarning, hintPublicURL, "%s answers here, but is this machine's own name, which hosts may not resolve", publicURL)
	}
	return api.Checkf(name, api.CheckOK, "", "%s answers", publicURL)
}

func askHealth(ctx context.Context, base string) error {
	ctx, cancel := context.WithTimeout(ctx, publicURLPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/healthz", nil)
	if err != nil {
		return err
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", req.URL, resp.Status)
	}
	return nil
}
