package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta"
)

// servesTLS reports whether it does, which a reload does not change.
func (s *Server) servesTLS() bool { return s.listener != net.Listener(s.connections) }

// certificate is the server's, as its files were when they were last read.
type certificate struct {
	pair atomic.Pointer[tls.Certificate]
}

func (c *certificate) loadPair(conf Config) error {
	if conf.TLSCert == "" {
		return nil
	}
	pair, err := meta.LoadKeyPair(conf.TLSCert, conf.TLSKey)
	if err != nil {
		return fmt.Errorf("cannot use the TLS certificate: %s", strings.TrimPrefix(err.Error(), "tls: "))
	}
	c.pair.Store(&pair)
	return nil
}

func (c *certificate) currentPair(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.pair.Load(), nil
}

// tlsConfig is nil for plain HTTP.
func (s *Server) tlsConfig() (*tls.Config, error) {
	if s.conf.TLSCert == "" {
		return nil, nil
	}
	if err := s.certificate.loadPair(s.conf); err != nil {
		return nil, err
	}
	conf := &tls.Config{GetCertificate: s.certificate.currentPair, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if s.conf.ClientCA == "" {
		return conf, nil
	}
	pem, err := plainfile.ReadLinked(s.conf.ClientCA, meta.MaxCertificates)
	if err != nil {
		return nil, fmt.Errorf("cannot read the clients' certificate authority: %w", err)
	}
	conf.ClientCAs = x509.NewCertPool()
	if !conf.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("cannot use the clients' certificate authority %s: there is no PEM certificate in it", s.conf.ClientCA)
	}
	conf.ClientAuth = tls.VerifyClientCertIfGiven
	return conf, nil
}
