package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

// client speaks to the server that flags, environment or context name.
func (a *app) client() (*api.Client, error) {
	p, err := a.chosenPlace()
	if err != nil {
		return nil, err
	}
	return p.client()
}

func (p place) client() (*api.Client, error) {
	conf, err := p.tlsConfig()
	if err != nil {
		return nil, err
	}
	return api.NewClient(api.ClientConfig{
		Server: cmp.Or(p.Server, "http://"+server.DefaultListen), Token: strings.TrimSpace(p.Token), TLS: conf,
		UserAgent: "ops-meta/" + buildinfo.Version(),
	})
}

func (p place) tlsConfig() (*tls.Config, error) {
	if p.CA == "" && p.Cert == "" {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.CA != "" {
		pem, err := plainfile.ReadLinked(p.CA, meta.MaxCertificates)
		if err != nil {
			return nil, fmt.Errorf("cannot read --ca: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot use --ca %s: there is no PEM certificate in it", p.CA)
		}
	}
	if p.Cert != "" {
		pair, err := meta.LoadKeyPair(p.Cert, p.Key)
		if err != nil {
			return nil, fmt.Errorf("cannot use --cert and --key: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}
