package mitid

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"eidgate/sandbox"
	"eidgate/sandbox/openid"
)

// tokenError is bare, as recorded (§4).
func tokenError(w http.ResponseWriter, code string) {
	w.Header().Set("Cache-Control", "no-store, no-cache, max-age=0")
	openid.Say(w, http.StatusBadRequest, openid.Members{{Name: "error", Value: code}})
}

// token spends a code, once (§4).
func (s *Simulator) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if r.ParseForm() != nil || r.URL.RawQuery != "" || len(r.PostForm) == 0 {
		tokenError(w, "invalid_request")
		return
	}
	c, err := s.clients.Authenticate(r, s.issuer(), s.issuer()+"/connect/token")
	if err != nil {
		tokenError(w, "invalid_client")
		return
	}
	if r.PostForm.Get("grant_type") != "authorization_code" {
		tokenError(w, "unsupported_grant_type")
		return
	}
	l, p, ok := s.Redeem(c, r.PostForm.Get("code"), r.PostForm.Get("redirect_uri"), r.PostForm.Get("code_verifier"))
	if !ok {
		tokenError(w, "invalid_grant")
		return
	}
	sandbox.Concerns(r.Context(), l.Ref)
	fault, _ := s.Faults.TakeBut(openid.OtherSubject, "mitid.result")
	k := s.keys()[0]
	id, err := openid.Sign(k.PrivateKey, k.kid, "JWT", s.idToken(&l, &p, fault.Kind), fault.Kind)
	if err != nil {
		tokenError(w, "server_error")
		return
	}
	w.Header().Set("Cache-Control", "no-store, no-cache, max-age=0")
	openid.Say(w, http.StatusOK, openid.Members{{Name: "id_token", Value: id}, {Name: "access_token", Value: l.Access}, {Name: "expires_in", Value: access}, {Name: "token_type", Value: "Bearer"},
		{Name: "scope", Value: strings.Join(l.Scopes, " ")}})
}

const nsis = "https://data.gov.dk/concept/core/nsis/"

// concept is a level as the Danish standard names it.
func concept(level string) string { return nsis + strings.ToUpper(level[:1]) + level[1:] }

// minimal says that no lasting name is told, unless another scope asks.
func minimal(l *openid.Login[asked]) bool { return l.Has("minimal") && !l.Has("mitid") && !asksCPR(l) }

// subject is the name of a person for one organisation; for who asks for as
// little as possible a new one each time (§4).
func (s *Simulator) subject(l *openid.Login[asked], p *sandbox.Person) string {
	if minimal(l) {
		return openid.GUID(s.pepper.Digest("once", l.Ref))
	}
	return openid.GUID(s.pepper.Digest("person", l.Client.Name, p.MitID.UUID))
}

// expiry is when the broker's session ends.
func (*Simulator) expiry(l *openid.Login[asked]) string {
	return strconv.FormatInt(l.Ended.Add(4*time.Hour).Unix(), 10)
}

func (s *Simulator) session(l *openid.Login[asked]) string {
	return openid.GUID(s.pepper.Digest("session", l.Ref))
}

// idToken is in the recorded order (§4).
func (s *Simulator) idToken(l *openid.Login[asked], p *sandbox.Person, fault string) openid.Members {
	now := s.Clock.Now().Unix()
	level, sid := concept(l.Own.reached), s.session(l)
	idp, kind := "mitid", "strict"
	if l.Own.age > 0 && minimal(l) {
		idp, kind = "idbrokerdk", "idbroker.dk"
	}
	out := openid.Members{{Name: "iss", Value: s.issuer()}, {Name: "nbf", Value: now}, {Name: "iat", Value: now}, {Name: "exp", Value: now + lifetime}, {Name: "aud", Value: l.Client.ID},
		{Name: "amr", Value: l.Own.amr}}
	if l.Nonce != "" {
		out = append(out, openid.Member{Name: "nonce", Value: l.Nonce})
	}
	out = append(out, openid.Members{{Name: "at_hash", Value: openid.HalfHash(l.Access)}, {Name: "sid", Value: sid}, {Name: "sub", Value: s.subject(l, p)}, {Name: "auth_time", Value: l.Ended.Unix()},
		{Name: "idp", Value: idp}, {Name: "acr", Value: level}, {Name: "neb_sid", Value: sid}, {Name: "loa", Value: level}, {Name: "aal", Value: level}, {Name: "ial", Value: level},
		{Name: "identity_type", Value: "private"}, {Name: "transaction_id", Value: openid.GUID(s.pepper.Digest("transaction", l.Ref))}, {Name: "idp_transaction_id", Value: s.transaction(l)},
		{Name: "session_expiry", Value: s.expiry(l)}, {Name: "idtoken_type", Value: kind}, {Name: "subject_type", Value: "org_mapped"}}...)
	if l.Own.age > 0 {
		out = append(out, openid.Member{Name: "idbrokerdk_age_verified", Value: strconv.Itoa(l.Own.age) + ":" + s.older(l, p)})
	}
	switch fault {
	case openid.OtherIssuer:
		out.Set("iss", "https://pp.netseidbroker.dk/op")
	case openid.OtherAudience:
		out.Set("aud", "somebody")
	case openid.OtherNonce:
		out.Set("nonce", "another")
	case openid.Over:
		out.Set("nbf", now-3900)
		out.Set("iat", now-3900)
		out.Set("exp", now-3600)
	}
	return out
}

func (s *Simulator) older(l *openid.Login[asked], p *sandbox.Person) string {
	years, _ := strconv.Atoi(p.MitID.Age(s.Clock.Now())) // it is made of a number
	return strconv.FormatBool(years >= l.Own.age)
}

func (s *Simulator) transaction(l *openid.Login[asked]) string {
	return openid.GUID(s.pepper.Digest("idp transaction", l.Ref))
}

// userInfo is plain JSON whose values are all texts, sub last (§4).
func (s *Simulator) userInfo(w http.ResponseWriter, r *http.Request) {
	l, p, ok := s.Bearer(r.Header.Get("Authorization"))
	if !ok {
		w.Header().Set("WWW-Authenticate", `Bearer realm="IdentityServer",error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	sandbox.Concerns(r.Context(), l.Ref)
	fault, _ := s.Faults.TakeOnly(openid.OtherSubject, "mitid.result") // all others are of tokens
	openid.Say(w, http.StatusOK, s.info(&l, &p, fault.Kind))
}

// protectedName stands for the name of who is protected (§4).
const protectedName = "NAVNE & ADRESSEBESKYTTET"

func (s *Simulator) info(l *openid.Login[asked], p *sandbox.Person, fault string) (out openid.Members) {
	m, now, level := p.MitID, s.Clock.Now(), concept(l.Own.reached)
	add := func(name, value string) { out = append(out, openid.Member{Name: name, Value: value}) }
	add("session_is_active", "true")
	add("session_expiry", s.expiry(l))
	add("idp", "mitid")
	add("subject_type", "org_mapped")
	if !minimal(l) {
		add("idp_identity_id", m.UUID)
	}
	add("loa", level)
	add("aal", level)
	add("ial", level)
	if l.Has("mitid") {
		label := p.Name
		if m.Protected {
			label = protectedName
		}
		add("mitid.transaction_id", s.transaction(l))
		add("mitid.uuid", m.UUID)
		add("mitid.age", m.Age(now))
		add("mitid.date_of_birth", m.Birth)
		add("mitid.has_cpr", strconv.FormatBool(m.CPR != ""))
		add("mitid.identity_name", label)
		if l.Own.reference != "" {
			add("mitid.reference_text", l.Own.reference)
		}
	}
	if l.Has("ssn") {
		add("dk.cpr", m.CPR)
	}
	if l.Has("nemid.pid") {
		if m.PID != "" {
			add("nemid.pid", m.PID)
			add("nemid.pid_status", "success")
		} else {
			add("nemid.pid_status", "unable_to_lookup")
		}
	}
	s.details(l, p, add)
	if l.Own.age > 0 {
		add("idbrokerdk_age_verify_"+strconv.Itoa(l.Own.age), s.older(l, p))
	}
	if l.Has("age") {
		add("idbrokerdk_age", m.Age(now))
	}
	add("mitid.psd2", "false")
	sub := s.subject(l, p)
	if fault == openid.OtherSubject {
		sub = openid.GUID(s.pepper.Digest("somebody"))
	}
	add("sub", sub)
	return out
}

// details are those of the register (§5): who is protected has no more than the
// status, who has left no address.
func (s *Simulator) details(l *openid.Login[asked], p *sandbox.Person, add func(name, value string)) {
	names, address := l.Has("ssn.details_name"), l.Has("ssn.details_address")
	if !names && !address {
		return
	}
	add("ssn.details.status", "success")
	add("ssn.details.name_address_protected", strconv.FormatBool(p.MitID.Protected))
	add("ssn.details.person_status", p.MitID.Status)
	if p.MitID.Protected {
		return
	}
	if names {
		add("ssn.details.given_name", p.Given)
		add("ssn.details.surname", p.Family)
	}
	if address && p.MitID.Status == "active" {
		for _, a := range [][2]string{{"city_name", ""}, {"floor", "2"}, {"street_name", "Eksempelvej"}, {"street_number", "1"}, {"unit", "tv"}, {"zip_code", "0999"}, {"zip_name", "Eksempelby"}} {
			add("ssn.details."+a[0], a[1])
		}
	}
}

// match says whether a CPR number is that of who has logged in (§5).
func (s *Simulator) match(w http.ResponseWriter, r *http.Request) {
	l, p, ok := s.Bearer(r.Header.Get("Authorization"))
	if !ok {
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	sandbox.Concerns(r.Context(), l.Ref)
	bad := func(text string) {
		openid.Say(w, http.StatusBadRequest, openid.Members{{Name: "errorMessage", Value: text}})
	}
	var in struct {
		CPR string `json:"cpr"`
	}
	if json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&in) != nil || in.CPR == "" {
		bad("Missing Cpr parameter")
		return
	}
	if s.Clock.Now().After(l.Ended.Add(matching)) {
		bad("Cpr Match is only allowed within 15 minutes of the login.")
		return
	}
	var n int
	s.After(l.Ref, func(a *asked) { a.matches++; n = a.matches })
	if n > tries {
		bad("Cpr Match exceeded. Only 3 tries is allowed within a session.")
		return
	}
	openid.Say(w, http.StatusOK, openid.Members{{Name: "cprNumberMatch", Value: p.MitID.CPR != "" && in.CPR == p.MitID.CPR}})
}
