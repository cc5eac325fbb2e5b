package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// Headers of a webhook. The signature is
//
//	v1=hex(HMAC-SHA256(secret, timestamp + "." + body))
//
// with the timestamp in Unix seconds as the header has it. A receiver checks
// the signature first and then that the timestamp is recent, so that nobody
// can send an old notice again.
const (
	HeaderEvent     = "X-Ops-Meta-Event"
	HeaderID        = "X-Ops-Meta-Id" // of the notice: the same in every try
	HeaderTimestamp = "X-Ops-Meta-Timestamp"
	HeaderSignature = "X-Ops-Meta-Signature"
)

func signBody(secret, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "v1=" + hex.EncodeToString(mac.Sum(nil))
}
