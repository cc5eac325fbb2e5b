// Package release takes in the tarballs of releases and keeps them.
//
// A tarball is hashed and checked while it arrives: what hosts would refuse
// to unpack is refused here, when its author is still watching. Content is
// kept under its own sha256, never changes, and is kept once however often it
// is uploaded:
//
//	blobs/sha256/ab/cdef…   complete content, by temp+fsync+rename
//	incoming/               what is arriving; leftovers of a crash are swept
//
// [Blobs] has two implementations: a directory ([OpenDir]) and an
// S3-compatible store ([OpenS3]). Which artifact belongs to which release is
// the database's business; this package only knows content.
package release
