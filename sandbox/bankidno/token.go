package bankidno

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/openid"
)

func tokenError(w http.ResponseWriter, code, text string) {
	w.Header().Set("Cache-Control", "no-store")
	status := http.StatusBadRequest
	if code == "invalid_client" {
		status = http.StatusUnauthorized
	}
	openid.Say(w, status, openid.Members{{Name: "error", Value: code}, {Name: "error_description", Value: text}})
}

// token spends a code, once (§5).
func (s *Simulator) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if r.ParseForm() != nil || r.URL.RawQuery != "" {
		tokenError(w, "invalid_request", "the body is no form, or something stands in the query")
		return
	}
	c, err := s.clients.Authenticate(r, s.issuer(), s.issuer()+"/protocol/openid-connect/token")
	if err != nil {
		tokenError(w, "invalid_client", err.Error())
		return
	}
	if r.PostForm.Get("grant_type") != "authorization_code" {
		tokenError(w, "unsupported_grant_type", "only authorization_code")
		return
	}
	l, p, ok := s.Redeem(c, r.PostForm.Get("code"), r.PostForm.Get("redirect_uri"), r.PostForm.Get("code_verifier"))
	if !ok {
		tokenError(w, "invalid_grant", "Code not valid")
		return
	}
	sandbox.Concerns(r.Context(), l.Ref)
	fault, _ := s.Faults.TakeBut(openid.OtherSubject, "bankidno.result")
	id, err := openid.Sign(s.keys()[0], sigKID, "JWT", s.idToken(&l, &p, fault.Kind), fault.Kind)
	if err != nil {
		openid.Say(w, http.StatusInternalServerError, openid.Members{{Name: "error", Value: "server_error"}})
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	openid.Say(w, http.StatusOK, openid.Members{{Name: "access_token", Value: l.Access}, {Name: "expires_in", Value: 300}, {Name: "token_type", Value: "Bearer"},
		{Name: "id_token", Value: id}, {Name: "session_state", Value: s.session(&l)}, {Name: "scope", Value: strings.Join(l.Scopes, " ")}})
}

// biometrics says which method it became: who cannot use biometrics falls back
// to the password (§3).
func (s *Simulator) biometrics(l *openid.Login[asked], p *sandbox.Person) bool {
	return l.Own.method == "BIS" && !l.Own.failed && s.Settings().Biometrics && slices.Contains(p.BankIDNO.Kinds, "BIS")
}

// session names BankID's own session.
func (s *Simulator) session(l *openid.Login[asked]) string {
	return name(s.pepper.Digest("session", l.Ref), l.Own.bis)
}

// idToken is in the order of a recorded one (§5).
func (s *Simulator) idToken(l *openid.Login[asked], p *sandbox.Person, fault string) openid.Members {
	n, now, bis, old := p.BankIDNO, s.Clock.Now(), l.Own.bis, s.Settings().API == "v1"
	nbf := now.Unix()
	if old {
		nbf = 0
	}
	issued := now.AddDate(-1, 0, 0).UTC().Truncate(24 * time.Hour)
	sub := name(s.pepper.Digest("person", n.PID), bis)
	out := openid.Members{{Name: "jti", Value: openid.Random()}, {Name: "exp", Value: now.Unix() + lifetime}, {Name: "nbf", Value: nbf}, {Name: "iat", Value: now.Unix()},
		{Name: "iss", Value: s.issuer()}, {Name: "aud", Value: l.Client.ID}, {Name: "sub", Value: sub}, {Name: "typ", Value: "ID"}, {Name: "azp", Value: l.Client.ID}}
	if l.Nonce != "" {
		out = append(out, openid.Member{Name: "nonce", Value: l.Nonce})
	}
	out = append(out, openid.Member{Name: "auth_time", Value: l.Ended.Unix()}, openid.Member{Name: "session_state", Value: s.session(l)}, openid.Member{Name: "at_hash", Value: openid.HalfHash(l.Access)})
	if l.Has("profile") {
		out = append(out, openid.Member{Name: "name", Value: p.Name}, openid.Member{Name: "given_name", Value: p.Given}, openid.Member{Name: "family_name", Value: p.Family}, openid.Member{Name: "birthdate", Value: n.Birth})
	}
	acr, amr, by, updated := "urn:bankid:bid;LOA=4", []string{"bid", "bid-mfa", "bid-otp", "bid-pwd"}, "BID", issued.UnixMilli()
	if bis {
		acr, amr, by, updated = "urn:bankid:bis;LOA=3", []string{"bis-mfa", "bis-hwk"}, "BIS", issued.Unix()
	}
	out = append(out, openid.Member{Name: "updated_at", Value: updated}, openid.Member{Name: "acr", Value: acr})
	if l.Has("nnin_altsub") {
		out = append(out, openid.Member{Name: "nnin_altsub", Value: n.Number})
	}
	if old {
		out = append(out, openid.Member{Name: "amr", Value: by})
	} else {
		out = append(out, openid.Member{Name: "amr", Value: amr}, openid.Member{Name: "sid", Value: s.session(l)})
	}
	out = append(out, openid.Member{Name: "bankid_altsub", Value: n.PID}, openid.Member{Name: "originator", Value: originator(n.Bank, bis)}, openid.Member{Name: "tid", Value: l.Ref})
	if !bis {
		out = append(out, openid.Member{Name: "additionalCertInfo", Value: certificate(p, issued)})
	}
	switch fault {
	case openid.OtherIssuer:
		out.Set("iss", "https://auth.current.bankid.no/auth/realms/current")
	case openid.OtherAudience:
		out.Set("aud", "somebody")
	case openid.OtherNonce:
		out.Set("nonce", "another")
	case openid.Over:
		out.Set("exp", now.Unix()-3600)
		out.Set("iat", now.Unix()-3900)
		if !old {
			out.Set("nbf", now.Unix()-3900)
		}
	}
	return out
}

// originator is the issuer of the certificate; biometrics name it the other way
// round (§5).
func originator(bank string, bis bool) string {
	if bis {
		return "C=NO,O=" + bank + ",OU=123456789,CN=BankID - TestBank1 - Bank CA 3;OrginatorId=9980"
	}
	return "CN=BankID - TestBank1 - Bank CA 3,OU=123456789,O=" + bank + ",C=NO;OrginatorId=9980;OriginatorName=BINAS;OriginatorId=9980"
}

func certificate(p *sandbox.Person, issued time.Time) openid.Members {
	return openid.Members{{Name: "certValidFrom", Value: issued.UnixMilli()}, {Name: "serialNumber", Value: "1535208"}, {Name: "keyAlgorithm", Value: "RSA"}, {Name: "keySize", Value: "2048"},
		{Name: "policyOid", Value: "2.16.578.1.16.1.12.1.1"}, {Name: "monetaryLimitAmount", Value: "100000"}, {Name: "certQualified", Value: true}, {Name: "monetaryLimitCurrency", Value: "NOK"},
		{Name: "certValidTo", Value: issued.AddDate(2, 0, 0).UnixMilli()}, {Name: "versionNumber", Value: "3"},
		{Name: "subjectName", Value: fmt.Sprintf(`CN=%s\, %s,O=%s,C=NO,SERIALNUMBER=%s`, p.Family, p.Given, p.BankIDNO.Bank, p.BankIDNO.PID)}}
}

// userInfo tells what the person has agreed to share (§6).
func (s *Simulator) userInfo(w http.ResponseWriter, r *http.Request) {
	l, p, ok := s.Bearer(r.Header.Get("Authorization"))
	if !ok {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	sandbox.Concerns(r.Context(), l.Ref)
	fault, _ := s.Faults.TakeBut(openid.OtherNonce, "bankidno.result")
	token, err := openid.Sign(s.keys()[0], sigKID, "JWT", s.info(&l, &p, fault.Kind), fault.Kind)
	if err != nil {
		http.Error(w, "UserInfo cannot be signed.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/jwt")
	_, _ = w.Write([]byte(token)) // the client has gone
}

func (s *Simulator) info(l *openid.Login[asked], p *sandbox.Person, fault string) openid.Members {
	n, now := p.BankIDNO, s.Clock.Now()
	out := openid.Members{{Name: "iss", Value: s.tinfo()}, {Name: "aud", Value: l.Client.ID}, {Name: "iat", Value: now.Unix()}, {Name: "exp", Value: now.Unix() + lifetime},
		{Name: "sub", Value: name(s.pepper.Digest("person", n.PID), l.Own.bis)}}
	add := func(scope, claim string, value any) {
		if text, ok := value.(string); l.Has(scope) && !n.Declines && !l.Own.keeps && (!ok || text != "") {
			out = append(out, openid.Member{Name: claim, Value: value})
		}
	}
	add("nnin", "nnin", n.Number)
	add("email", "email", n.Email)
	if n.Email != "" {
		add("email", "email_verified", false)
	}
	add("phone", "phone_number", n.Phone)
	if n.Phone != "" {
		add("phone", "phone_number_verified", false)
	}
	if n.Street != "" {
		add("address", "address", openid.Members{{Name: "formatted", Value: n.Street + "\n" + n.PostalCode + " " + n.City}, {Name: "country", Value: "NO"}, {Name: "street_address", Value: n.Street},
			{Name: "postal_code", Value: n.PostalCode}, {Name: "locality", Value: n.City}})
	}
	switch fault {
	case openid.OtherSubject:
		out.Set("sub", "somebody")
	case openid.OtherIssuer:
		out.Set("iss", "https://tinfo.example")
	case openid.OtherAudience:
		out.Set("aud", "somebody")
	case openid.Over:
		out.Set("exp", now.Unix()-3600)
		out.Set("iat", now.Unix()-3900)
	}
	return out
}
