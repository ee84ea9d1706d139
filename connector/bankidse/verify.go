package bankidse

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"eidgate/connector"
	"eidgate/eid"
	"eidgate/natid"
	"eidgate/protocol/bankidse"
)

// verify turns the stored answer into an identity, or refuses it. Nothing of
// an answer that does not verify is used.
func (c *Connector) verify(ctx context.Context, r *connector.Request, s *state) (connector.Result, error) {
	cl, err := c.client(r.Settings)
	if err != nil {
		return connector.Result{}, err
	}
	done := kept(s.Answer)
	if done == nil {
		return refuse(eid.BadAnswer, "completionData"), nil
	}
	if n := done.User.PersonalNumber; len(n) != 12 || strings.Trim(n, "0123456789") != "" {
		return refuse(eid.BadAnswer, "personalNumber"), nil
	}
	sent, err := c.texts(ctx, r, s)
	if err != nil {
		return connector.Result{}, err
	}
	kind := ""
	if !cl.set.StoreOnly {
		v, err := cl.verifier.Verify(c.input(cl, r, s, done, sent))
		var why *bankidse.VerifyError
		switch {
		case errors.As(err, &why):
			return refuse(eid.BadProof, word(why.Check)), nil
		case err != nil:
			return refuse(eid.BadProof, "unreadable"), nil
		}
		kind = v.Kind
	}
	if s.Pinned != "" && done.User.PersonalNumber != s.Pinned {
		return refuse(eid.WrongPerson, ""), nil
	}
	same := compare(address(r), done.Device.IPAddress)
	if (s.Linked || s.Device == onSame) && !allowed(cl.set.AddressCheck, same) {
		return refuse(eid.RiskBlocked, "address"), nil
	}
	id := c.identity(s, done, kind, same)
	return connector.Result{Step: connector.Done{}, Confirmed: &id, Evidence: evidence(s, done, sent),
		Notes: []string{checks(cl.set.StoreOnly)}}, nil
}

func checks(storeOnly bool) string {
	if storeOnly {
		return "signature stored, not verified"
	}
	return "signature ok, chain ok, OCSP good, nonce ok, content as sent"
}

func refuse(reason eid.Reason, code string) connector.Result {
	return connector.Result{Step: connector.Fail{Reason: reason, Code: code}}
}

// identity maps BankID's answer. Birth date and age are derived from the
// number; an impossible date leaves both unknown (§18.4).
func (c *Connector) identity(s *state, done *bankidse.Completion, kind, address string) eid.Identity {
	id := eid.Identity{EID: eid.BankIDSE, At: c.now(), Request: s.Ref, Subject: done.User.PersonalNumber,
		Country: "SE", Number: eid.Number(done.User.PersonalNumber), Name: done.User.Name,
		Given: done.User.GivenName, Family: done.User.Surname, Kind: kind, Signals: map[string]string{}}
	if info, err := natid.Parse("SE", done.User.PersonalNumber, c.now()); err == nil && info.BirthDate.IsDay() {
		id.Birth = info.BirthDate.String()
		if age, ok := info.AgeAt(c.now()); ok {
			id.Age = &age
		}
	}
	for name, value := range map[string]string{"risk": done.Risk, "address": address, "issued": done.BankIDIssueDate} {
		if value != "" {
			id.Signals[name] = value
		}
	}
	if done.StepUp != nil {
		id.Signals["mrtd"] = strconv.FormatBool(done.StepUp.MRTD)
	}
	if s.Returned {
		id.Signals["returned"] = "true"
	}
	return id
}

// evidence is what proves the order: the answer's proofs and what they answer.
func evidence(s *state, done *bankidse.Completion, sent texts) []eid.Evidence {
	request, err := json.Marshal(map[string]any{"orderRef": s.Ref, "began": s.Began.UTC().Format(time.RFC3339Nano),
		"userVisibleData": sent.visible, "userNonVisibleData": sent.hidden, "userVisibleDataFormat": sent.format,
		"device": done.Device})
	if err != nil {
		panic(err) // strings only
	}
	return []eid.Evidence{
		{Name: "bankidse.signature", Type: "application/xml", Data: []byte(done.Signature)},
		{Name: "bankidse.ocsp", Type: "application/ocsp-response", Data: []byte(done.OCSPResponse)},
		{Name: "bankidse.request", Type: "application/json", Data: request},
	}
}

// texts is what goes to BankID: base64, as in the request.
type texts struct{ visible, hidden, format string }

// texts loads what the relying party wants signed. A login without a text
// of its own tells the person who asks; an order of before there was Intent in a
// state, in the language of now. It comes before everything that cannot
// be done twice, so that whoever called may be called again.
func (c *Connector) texts(ctx context.Context, r *connector.Request, s *state) (texts, error) {
	t, err := r.Texts(ctx)
	if err != nil {
		return texts{}, &connector.Unknown{Reason: eid.Internal, Repeat: true, Err: fmt.Errorf("load texts: %w", err)}
	}
	visible := cmp.Or(string(t.Visible), s.Intent, intent(r))
	out := texts{format: t.Format}
	if visible != "" {
		out.visible = base64.StdEncoding.EncodeToString([]byte(visible))
	}
	if len(t.NonShown) > 0 {
		out.hidden = base64.StdEncoding.EncodeToString(t.NonShown)
	}
	return out, nil
}

// intent is the text of a login in the app, in the language of the page where
// BankID's app has it too; "" where there is no page, or nobody to name.
func intent(r *connector.Request) string {
	switch {
	case r.Purpose == eid.Sign || r.Party == "" || r.Headless:
		return ""
	case r.Language == "sv":
		return "Jag legitimerar mig hos " + r.Party + "."
	}
	return "I identify myself to " + r.Party + "."
}

// compare says how the address of the app's device relates to the browser's.
func compare(browser netip.Addr, device string) string {
	d, err := netip.ParseAddr(device)
	if err != nil || !browser.IsValid() {
		return "unknown"
	}
	a, b := browser, d.Unmap()
	bits := 24
	if a.Is6() {
		bits = 48
	}
	switch {
	case a == b:
		return "equal"
	case a.Is4() == b.Is4() && netip.PrefixFrom(a, bits).Masked().Contains(b):
		return "same-prefix"
	}
	return "different"
}

// allowed applies the account's policy to orders of the same device (§20).
func allowed(policy, relation string) bool {
	switch policy {
	case "require-equal":
		return relation == "equal"
	case "require-same-prefix":
		return relation == "equal" || relation == "same-prefix"
	}
	return true
}
