// Package trust is whom a host believes: the keys, what is signed with them and
// what a signature says. Both programs and an operator's machine use it; it
// knows nothing of files, networks or of which host it runs on.
//
// # Signatures
//
// Everything is signed in the format of minisign (https://jedisct1.github.io/minisign/):
// ed25519 over the BLAKE2b-512 digest of the bytes, and a second signature over the
// first and the trusted comment. The tool of that name makes and checks what
// this package makes and checks. A signature of the older kind, over the bytes
// themselves, is refused: it could not be checked before all of them are held.
//
// The trusted comment says what the bytes are, in words of the form field=value with
// spaces or tabs between them, so that a good signature cannot be moved to another
// place:
//
//	name=falcon-agent version=5.1.0 arch=linux_amd64    a release's tarball
//	name=falcon-agent config=cfg.json                   a remote configuration
//	reply=1                                             a heartbeat's reply
//	keylist=7                                           a list of keys, of epoch 7
//
// Other words are passed over, such as minisign's own timestamp:… and file:….
// A comment with a field twice, or with the fields of two kinds, is none.
//
// # Keys
//
// A key has one use. Release keys are kept offline and sign releases and remote
// configurations; the server's key is online and signs replies; root keys are
// kept offline and sign the list of the other two, with its epoch. Which keys a
// host starts with stands in its cfg.json; where that names root keys, the list
// with the highest epoch that was heard decides instead, from then on.
//
// # Replies
//
// A signed reply has host, serial, expires and epoch in its body and the signature
// over the exact bytes of the body in the header [ReplyHeader], base64 of the
// whole signature file. [Heard.Judge] says whether a reply is believed; the caller
// keeps the [Heard] it returns before it acts on the reply.
package trust
