// Package httpapi is /api/v1: one table of routes that the handlers, the
// access rules and the OpenAPI document are all made from, so that they
// cannot disagree.
//
// A request passes, in this order: the route, the caller's token and its role,
// the handler. Deadlines are the server's to set: uploads, backups and the
// change feed last as long as they move. Handlers take decoded
// input and return a value or an error; errors become problem+json in one
// place. Every noun has a file of its own and names what it needs of the
// server as a small interface, which the store, the fleet, the artifacts and
// the rollout engine satisfy.
//
// # Guarded writes
//
// A noun's revision is its ETag. A write with If-Match is done only at that
// revision, one with If-None-Match: * only when there is nothing yet; without
// either it is done whatever is there.
package httpapi
