package broker

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"

	"eidgate/eid"
)

// hash is what a session keeps of a browser's secret. The session's id is
// part of it, so that two rows of one browser do not look alike.
func (b *Broker) hash(session, secret string) []byte {
	m := hmac.New(sha256.New, b.c.HandleKey)
	m.Write([]byte(session))
	m.Write([]byte{0})
	m.Write([]byte(secret))
	return m.Sum(nil)
}

// holds says whether the browser is the one that the session is bound to. An
// unbound session belongs to whoever acts first.
func (b *Broker) holds(s *Session, h Handle) bool {
	if s.Handle == nil {
		return true
	}
	for _, secret := range []string{h.Cookie, h.Token} {
		if secret != "" && hmac.Equal(s.Handle, b.hash(s.ID, secret)) {
			return true
		}
	}
	return false
}

// pass is what lets a page go to the eID of the running order, and do nothing
// else. Whoever has it may as well have the eID's own address.
func (b *Broker) pass(s *Session) string {
	return base64.RawURLEncoding.EncodeToString(b.hash(s.ID, "go to "+s.Order)[:16])
}

// bind gives an unbound session to the browser that acts. A cookie binds
// strongly; a token from the address weakly, since addresses can be passed on.
func (b *Broker) bind(s *Session, h Handle) error {
	if s.Handle != nil {
		if !b.holds(s, h) {
			return ErrElsewhere
		}
		return nil
	}
	switch {
	case h.Cookie != "":
		s.Handle, s.Level = b.hash(s.ID, h.Cookie), eid.Strong
	case h.Token != "":
		s.Handle, s.Level = b.hash(s.ID, h.Token), eid.Weak
	}
	return nil
}

// mayRebind says whether a browser that lost its cookie may take the session
// over: only while nothing has been asked of an upstream, and not where the
// session was a browser's from the start.
func mayRebind(s *Session, spec *Spec) bool { return s.State == Created && s.Order == "" && !spec.Held }
