package notify_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/ops-updater/ops-updater/meta/internal/notify"
)

// verify is what a receiver does with a webhook: it tells whether the body was
// signed with secret, not longer than tolerance before now.
func verify(secret string, h http.Header, body []byte, now time.Time, tolerance time.Duration) error {
	timestamp := h.Get(notify.HeaderTimestamp)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(append([]byte(timestamp+"."), body...))
	if !hmac.Equal([]byte(h.Get(notify.HeaderSignature)), []byte("v1="+hex.EncodeToString(mac.Sum(nil)))) {
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
