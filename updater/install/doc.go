// Package install brings one version of an agent onto the disk: it downloads
// the release, verifies it, unpacks it and puts it in its place. It runs in the
// short-lived child, as the agent's own user, and touches nothing outside the
// agent's directory:
//
//	{dir}/.part-{name}-{version}        what has been downloaded so far
//	{dir}/.part-{name}-{version}.json   where it came from, for resuming
//	{dir}/.staging-{version}/           the tree while it is not complete or not proven
//	{dir}/{version}/                    a complete, verified, synced release
//
// The tarball is read once: while its bytes arrive they are written to the
// part, hashed, decompressed and unpacked into the staging directory, all at
// the same time. Nothing of it is believed until the digest has been compared;
// only then is the tree synced and renamed, so that a directory named like a
// version is always complete. A download that was cut goes on where it stopped,
// within a run and, through the part, after a crash.
package install
