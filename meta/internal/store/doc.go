// Package store keeps what ops-meta must not forget, in SQLite or PostgreSQL.
//
// There are three ways in, by how hot they are:
//
//   - [Store.Write] is for operators: one transaction with the change of a row,
//     its audit entry and the serial that tells every replica to look again.
//     None of the three can be forgotten, because a [Tx] makes all of them.
//   - Grants ([Store.Steer], [Store.JudgeGrants]) are exact with any number of
//     replicas: they are made under the lock of the rollout's row and judged once,
//     in transactions that are durable before they return.
//   - What hosts report ([Store.SaveReports], [Store.FlushSeen]) comes in
//     batches of the caller's making, one transaction each.
//
// The SQL is one dialect that both databases speak; the few differences are in
// dialect.go and in the templates of the migrations. Times are stored as
// microseconds since 1970, nouns as JSON beside the columns that are searched,
// hosts in a compact encoding of their own (hostcodec.go).
//
// Errors are [api.Error]: NotFound, Exists, Conflict, Immutable, Invalid, or
// Unavailable when the database can't be reached, which is worth a retry.
package store
