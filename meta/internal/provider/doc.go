// Package provider asks an OpenID Connect provider who somebody is, and says what
// that person may do here.
//
// # One client
//
// The server is the provider's only client, with the authorization code flow and
// PKCE (RFC 7636), a state and a nonce: browsers carry nothing but the code, and
// the client's secret stays on the server. What is under way is not kept here; see
// package backend for how it is sealed.
//
// # Bounds
//
// Nothing of the provider is trusted further than its signature: replies have a
// limit, redirects are not followed, and nothing is asked of a host without TLS
// but this machine. While the provider is away nobody logs in by it; that is all.
package provider
