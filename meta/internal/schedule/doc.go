// Package schedule decides what a schedule does next about an agent: begin a
// rollout of the version that its channel points at, or wait, and for what; and
// it forecasts when which host would change. It is pure, as package rollout is,
// by whose policy everything goes that a rollout does: a forecast runs that policy
// ahead of time, and knows no rules of its own.
//
// A schedule takes up each version once for each time that the channel comes to point
// at it. What became of that is up to the rollout and to people: a release that
// was taken back, or that somebody put another version in the place of, is not
// begun again until the channel moves on or somebody deploys it.
package schedule
