package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"time"
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

// Verify is what a receiver does with a webhook: it tells whether the body
// was signed with secret, not longer than tolerance before now.
func Verify(secret string, h http.Header, body []byte, now time.Time, tolerance time.Duration) error {
	timestamp := h.Get(HeaderTimestamp)
	if !hmac.Equal([]byte(h.Get(HeaderSignature)), []byte(signBody(secret, timestamp, body))) {
		return errors.New("the signature is wrong")
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return errors.New("the timestamp is no number")
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > tolerance || age < -tolerance {
		return errors.New("the timestamp is too far from now")
	}
	return nil
}
