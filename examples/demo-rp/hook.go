package demorp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A refusal is a webhook that we did not use. It keeps nothing of its content.
type refusal struct{ At, Why string }

// hook takes a webhook. The signatures are over the bytes as they came, so
// nothing reads them before they are verified.
func (s *Shop) hook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "cannot be read", http.StatusRequestEntityTooLarge)
		return
	}
	why, status := "", http.StatusNoContent
	notes := s.verify(r.Header, body)
	if i := slices.IndexFunc(notes, func(c check) bool { return c.Verdict != "yes" }); i >= 0 {
		why, status = "Not true: "+notes[i].Text, http.StatusUnauthorized
	} else {
		why = s.take(r.Header, body, notes)
	}
	if why != "" {
		s.mu.Lock()
		s.refused = slices.Insert(s.refused, 0, refusal{s.now().Format("15:04:05"), why})
		s.refused = s.refused[:min(len(s.refused), maxRefused)]
		s.mu.Unlock()
	}
	w.WriteHeader(status)
}

// verify makes every check that needs no memory. A message is believed only
// when all of them say yes.
func (s *Shop) verify(h http.Header, body []byte) []check {
	stamp := h.Get("Webhook-Timestamp")
	unix, err := strconv.ParseInt(stamp, 10, 64)
	key, bad := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Secret, "whsec_"))
	want := "v1," + base64.StdEncoding.EncodeToString(mac(key, h.Get("Webhook-Id")+"."+stamp+"."+string(body)))
	signed := slices.ContainsFunc(strings.Fields(h.Get("Webhook-Signature")), func(got string) bool { return hmac.Equal([]byte(got), []byte(want)) })
	older := hex.EncodeToString(mac([]byte(s.Key), string(body)))
	return []check{
		verdict(true, bad == nil && len(key) > 0 && signed, "webhook-signature fits id, time and body with our webhook secret."),
		verdict(true, hmac.Equal([]byte(strings.ToLower(h.Get("X-ZignSec-Hmac-SHA256"))), []byte(older)), "X-ZignSec-Hmac-SHA256 fits the body with our API key."),
		verdict(true, err == nil && s.now().Sub(time.Unix(unix, 0)).Abs() <= 5*time.Minute, "webhook-timestamp is within five minutes of our clock."),
	}
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// take puts a genuine webhook to the visit that it is about, once: retries,
// and somebody who has listened, send the same id again. Otherwise it says why
// not; the sender is thanked all the same, so that it does not try again.
func (s *Shop) take(h http.Header, body []byte, notes []check) (why string) {
	x := exchange{Title: "webhook POST /hook", Status: http.StatusNoContent, Notes: notes, Came: true, Request: "POST /hook\n",
		How: "The same again, which is refused", Same: "curl -i " + quote(s.Self+"/hook") + " \\\n  --data-raw " + quote(string(body))}
	for _, name := range []string{"Content-Type", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature", "X-ZignSec-Hmac-SHA256"} {
		x.Request += name + ": " + h.Get(name) + "\n"
		x.Same += " \\\n  -H " + quote(name+": "+h.Get(name))
	}
	x.Request += "\n" + pretty(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	id := h.Get("Webhook-Id")
	if slices.Contains(s.seen, id) {
		return "A repeat of a message that we have: acknowledged, not used again."
	}
	s.seen = append(s.seen, id)
	s.seen = s.seen[max(0, len(s.seen)-maxSeen):]
	var in result
	err := json.Unmarshal(body, &in)
	i := slices.IndexFunc(s.visits, func(v *visit) bool { return v.ID != "" && v.ID == in.ID })
	if err != nil || i < 0 {
		return "Genuine, but about no login that this shop knows."
	}
	s.visits[i].Calls, s.visits[i].Hooked = append(s.visits[i].Calls, x), true
	return ""
}
