// Package notify tells people: by webhook, in a chat and by mail, that a rollout changed
// its state, that hosts failed or went silent.
//
// A notice is owed from the moment that the database has it, in the same
// transaction as what it tells of. It goes through the [Outbox] in two steps:
//
//  1. A notification without a target is distributed: one for each webhook
//     and each mail address that wants it. Many hosts with the same trouble
//     become one notice.
//  2. A notification with a target ("hook", or "team/mail@example.com") is
//     delivered, again with growing pauses when that fails, and given up
//     after a number of attempts; then it is in the list of the dead.
//
// Delivery is at least once. The notice's ID is the same each time.
package notify
