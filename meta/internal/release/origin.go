package release

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Origin is how a place is reached that asks for a login or is vouched for by
// an authority of its own, such as the file server of an older ops-meta.
type Origin struct {
	Host string // that the login is for, with its port; nobody else is sent it
	User *url.Userinfo
	CA   []byte // PEM of authorities that are believed beside the system's
}

// sendRequest sends a request, with the login if it is for the place the login is for.
func (o Origin) sendRequest(c *http.Client, r *http.Request) (*http.Response, error) {
	if o.User != nil && o.Host == r.URL.Host {
		password, _ := o.User.Password()
		r.SetBasicAuth(o.User.Username(), password)
	}
	if len(o.CA) == 0 {
		return c.Do(r)
	}
	transport, ok := c.Transport.(*http.Transport)
	if !ok {
		return nil, errors.New("this server cannot believe another authority")
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(o.CA) {
		return nil, errors.New("the authority's certificate is not PEM")
	}
	believing := *c
	own := transport.Clone() // without connections that outlive their request, as the original
	own.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	believing.Transport = own
	return believing.Do(r)
}

// Fetch fetches the tarball at an address and keeps it.
func (s *Store) Fetch(ctx context.Context, d Declared, address string) (api.Artifact, error) {
	if err := d.validate(); err != nil {
		return api.Artifact{}, err
	}
	return s.fetchInto(ctx, d, address, func(d Declared, r io.Reader) (api.Artifact, error) { return s.Receive(ctx, d, r) })
}
