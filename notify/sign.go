package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Sign is the Standard Webhooks signature of a message: "v1," and the base64
// HMAC-SHA256 of "id.timestamp.body", keyed with the bytes that the secret
// "whsec_…" is the base64 of (docs/webhooks.md).
func Sign(secret, id string, at time.Time, body []byte) (string, error) {
	raw, ok := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(raw)
	if !ok || err != nil {
		return "", errors.New("the secret is not whsec_ and base64")
	}
	m := hmac.New(sha256.New, key)
	m.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
	m.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)), nil
}

// Verify checks a Standard Webhooks signature as a receiver should: any entry
// of the list may fit, and the time may be five minutes off.
func Verify(secret, id, timestamp, signatures string, body []byte, now time.Time) error {
	unix, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return errors.New("webhook-timestamp is not a number")
	}
	at := time.Unix(unix, 0)
	if d := now.Sub(at); d > 5*time.Minute || d < -5*time.Minute {
		return errors.New("webhook-timestamp is more than five minutes off")
	}
	want, err := Sign(secret, id, at, body)
	if err != nil {
		return err
	}
	for _, s := range strings.Fields(signatures) {
		if hmac.Equal([]byte(s), []byte(want)) {
			return nil
		}
	}
	return errors.New("no signature fits")
}

// ZignSec is the older signature: the hex HMAC-SHA256 of the body, keyed with
// the text of the API key.
func ZignSec(key string, body []byte, upper bool) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write(body)
	s := hex.EncodeToString(m.Sum(nil))
	if upper {
		return strings.ToUpper(s)
	}
	return s
}
