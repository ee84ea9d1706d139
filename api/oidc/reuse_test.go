package oidc_test

import (
	"testing"
	"time"

	"eidgate/eid"
	"eidgate/relying"
)

// TestReuse holds that a login which is used again is nothing that the request
// would not have got from a new one.
func TestReuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	w.in(t, "OP-SESS-06 a login lasts as long as the client that asks has it, whoever began it", func(t *testing.T) {
		brief := w.client(func(c *relying.Client) { c.Lifetimes.SSO = time.Minute })
		v := w.visitor()
		w.tokens(c, v)
		w.clock.Advance(50 * time.Second)
		w.code(v, silent(brief))
		w.clock.Advance(11 * time.Second)
		w.denied(t, v, silent(brief), "login_required")
		w.code(v, silent(c))
	})
	w.in(t, "OP-SESS-06 a bank that is named is the bank of the login", func(t *testing.T) {
		v := w.visitor()
		w.eids[eid.IDIN].tells(func(who *eid.Identity) { who.Issuer = "INGBNL2A" }, func() {
			w.tokens(c, v, "acr_values", "idp:idin")
		})
		w.code(v, silent(c, "acr_values", "idp:idin"))
		w.code(v, silent(c, "acr_values", "idin_idp:ABNANL2A,INGBNL2A"))
		w.denied(t, v, silent(c, "acr_values", "idin_idp:ABNANL2A"), "login_required")
		sweden := w.visitor() // where banks are nothing to the login
		w.tokens(c, sweden)
		w.code(sweden, silent(c, "acr_values", "idp:sbid,idin idin_idp:ABNANL2A"))
	})
	w.in(t, "OP-SESS-06 an age check does not learn who was logged in", func(t *testing.T) {
		v := w.visitor()
		w.tokens(c, v, "acr_values", "idp:idin", "scope", "openid profile eighteen-or-older")
		w.denied(t, v, silent(c, "acr_values", "idp:idin", "scope", "openid eighteen-or-older"), "login_required")
		w.code(v, silent(c, "acr_values", "idp:idin", "scope", "openid eighteen-or-older idp-id"))
		w.code(v, silent(c, "acr_values", "idp:idin", "scope", "openid eighteen-or-older name"))
	})
	w.in(t, "OP-SESS-06 an age check of MitID is no login", func(t *testing.T) {
		v, adult := w.visitor(), true
		w.eids[eid.MitID].tells(func(who *eid.Identity) {
			*who = eid.Identity{Subject: "of this check", Country: "DK", Approved: &adult}
		}, func() {
			w.tokens(c, v, "acr_values", "idp:mitid", "scope", "openid eighteen-or-older")
		})
		w.code(v, silent(c, "acr_values", "idp:mitid", "scope", "openid eighteen-or-older"))
		w.denied(t, v, silent(c, "acr_values", "idp:mitid", "scope", "openid"), "login_required")
	})
	w.in(t, "OP-SESS-07 somebody who logs in over another's login is not taken for them", func(t *testing.T) {
		v := w.visitor()
		first := payload(t, w.tokens(c, v)["id_token"])["sub"]
		ada := w.eids[eid.BankIDSE]
		ada.as("199003032392", func() {
			ada.mu.Lock()
			ada.how = eid.Weak // in a browser of which nobody is sure
			ada.mu.Unlock()
			if payload(t, w.tokens(c, v, "prompt", "login")["id_token"])["sub"] == first {
				t.Error("the same person")
			}
			ada.mu.Lock()
			ada.how = ""
			ada.mu.Unlock()
		})
		w.denied(t, v, silent(c), "login_required")
	})
}
