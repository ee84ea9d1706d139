package claims_test

import (
	"strings"
	"testing"
	"time"

	"eidgate/api/claims"
	"eidgate/eid"
)

func TestPerson(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		e          eid.EID
		name, want string // "" for a refusal
	}{
		{eid.BankIDSE, "199001012385", "199001012385"},
		{eid.BankIDSE, "19900101-2385", "199001012385"},
		{eid.BankIDSE, "199001612385", "199001612385"}, // a coordination number
		{eid.BankIDSE, "9001012385", ""},
		{eid.BankIDSE, "900101-2385", ""},
		{eid.BankIDSE, "900101+2385", ""},
		{eid.BankIDSE, " 199001012385", ""},
		{eid.BankIDSE, "199013012385", ""},
		{eid.BankIDSE, "209001012385", ""}, // not born yet
		{eid.BankIDSE, "19900101T385", ""},
		{eid.BankIDSE, "", ""},
		{eid.IDIN, "NLABNA0f3c5e", "NLABNA0f3c5e"},
		{eid.IDIN, "nlabna0f3c5e", "nlabna0f3c5e"}, // another one
		{eid.IDIN, "TRANS0f3c5e", ""},
		{eid.IDIN, "trans0f3c5e", ""},
		{eid.IDIN, "", ""},
		{eid.IDIN, "NL ABNA", ""},
		{eid.IDIN, "NLÅBNA", ""},
		{eid.MitID, "TRANSPORT", "TRANSPORT"},
		{eid.MitID, strings.Repeat("x", 255), strings.Repeat("x", 255)},
		{eid.MitID, strings.Repeat("x", 256), ""},
	} {
		got, err := claims.Person(c.e, c.name, now)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("Person(%s, %q) = %q, %v; want %q", c.e, c.name, got, err, c.want)
		}
		if err != nil && c.name != "" && strings.Contains(err.Error(), c.name) {
			t.Errorf("Person(%s, %q) repeats the name: %v", c.e, c.name, err)
		}
	}
}

func TestKnown(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{"idp": true, "idin_idp": true, "sbid_flow": true, "IDP": false, "nosuch": false, "?": false, "": false} {
		if claims.Known(key) != want {
			t.Errorf("Known(%q) = %v", key, !want)
		}
	}
}
