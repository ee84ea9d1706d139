package oidc_test

import (
	"bytes"
	"net/url"
	"testing"

	"eidgate/api/claims"
	"eidgate/api/oidc"
	"eidgate/eid"
	"eidgate/store"
)

// TestBroughtAlong: whoever had a name with a former provider has it everywhere,
// and whoever had none has the one that the exported key makes.
func TestBroughtAlong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client()
	key, err := oidc.SubjectKey(bytes.Repeat([]byte{9}, 32))
	if err != nil {
		t.Fatal(err)
	}
	computed := func(account, idp, person string) string {
		return claims.Subject(key, account, idp, &eid.Identity{Subject: person}, nil)
	}
	for _, n := range []store.Subject{{IDP: "sbid", Person: "199001012385", Sub: "ada-before"}, {IDP: "idin", Person: "NLBANKvector0002", Sub: "bank-before"}} {
		if err := w.store.PutSubjects(t.Context(), w.account.ID, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.store.PutSubjects(t.Context(), "another account", store.Subject{IDP: "sbid", Person: "198001019876", Sub: "theirs"}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct{ idp, person, want string }{
		{"sbid", "199001012385", "ada-before"}, {"idin", "NLBANKvector0002", "bank-before"},
		{"sbid", "198001019876", computed(w.account.ID, "sbid", "198001019876")},
		{"idin", "199001012385", computed(w.account.ID, "idin", "199001012385")},
	} {
		e, _ := claims.EID(p.idp)
		w.eids[e].tells(func(who *eid.Identity) { who.Subject = p.person }, func() {
			out := w.tokens(c, w.visitor(), "acr_values", "idp:"+p.idp)
			access := out["access_token"].(string)
			_, _, user := w.userinfo(access)
			_, _, told := w.post("introspect", c, url.Values{"token": {access}})
			for where, got := range map[string]any{"ID token": payload(t, out["id_token"])["sub"], "UserInfo": user["sub"], "introspection": told["sub"]} {
				if got != p.want {
					t.Errorf("%s of a person of %s: sub is %v, want %s", where, p.idp, got, p.want)
				}
			}
		})
	}
}
