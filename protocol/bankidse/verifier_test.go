package bankidse

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A knowing is a Verifier for inputs that name their roots, as the function
// takes them.
type knowing struct{ *Verifier }

func (k knowing) without(in VerifyInput) (*Verified, error) {
	in.Roots = nil
	return k.Verify(in)
}

// verifier trusts the issuer's root.
func (is *issuer) verifier() knowing {
	v, err := NewVerifier(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: is.root.cert.Raw})))
	must(err)
	return knowing{v}
}

// warm has met the honest bank.
func (is *issuer) warm(t *testing.T) knowing {
	t.Helper()
	k := is.verifier()
	f := is.forge(Identification)
	if _, err := k.without(is.input(f)); err != nil {
		t.Fatal(err)
	}
	if ca, responder := k.remembers(f); !ca || !responder {
		t.Fatalf("remembered: the CAs %v, the responder %v", ca, responder)
	}
	return k
}

// remembers says what of a forgery is known.
func (k knowing) remembers(f *forgery) (ca, responder bool) {
	id := f.cas()
	_, ca = k.known.authorities.Get(id)
	_, responder = k.known.responders.Get(responderID{id, sha256.Sum256(f.responder.cert.Raw)})
	return ca, responder
}

func (f *forgery) cas() caID {
	var ders [][]byte
	for _, c := range f.certs[1:] {
		ders = append(ders, c.Raw)
	}
	return idOfCAs(ders)
}

// by has a user's certificate from another CA, with its responder.
func (is *issuer) by(customer *holder, above ...*holder) *forgery {
	f := is.forge(Identification)
	f.user = certify(user(person), userKey(), customer)
	f.certs = []*x509.Certificate{f.user.cert, customer.cert}
	for _, h := range above {
		f.certs = append(f.certs, h.cert)
	}
	f.certID = idOf(f.user.cert, customer.cert)
	f.responder = certify(responder(), userKey(), customer)
	return f
}

// at moves a signature in time, and what is asked about it.
func (is *issuer) at(f *forgery, when time.Time) VerifyInput {
	f.produced = when
	in := is.input(f)
	in.Start, in.End = when.Add(-time.Minute), when.Add(time.Minute)
	return in
}

// judge compares a verdict with the name of a check, "" for none.
func judge(t *testing.T, what string, verify func(VerifyInput) (*Verified, error), in VerifyInput, check string) {
	t.Helper()
	v, err := verify(in)
	var why *VerifyError
	switch {
	case check == "" && (err != nil || v.PersonalNumber != person):
		t.Errorf("%s: %v, want success", what, err)
	case check != "" && (!errors.As(err, &why) || why.Check != check || v != nil):
		t.Errorf("%s: %v, want %s", what, err, check)
	}
}

// TestVerifierRemembers: a bank that is known is known by its exact
// certificates, and the verdict is that of the function.
func TestVerifierRemembers(t *testing.T) {
	t.Parallel()
	is := theIssuer()
	k := is.warm(t)
	f := is.forge(Identification)
	a, _ := k.known.authority([][]byte{is.customer.cert.Raw, is.bank.cert.Raw})
	again, _ := k.known.authority([][]byte{slices.Clone(is.customer.cert.Raw), is.bank.cert.Raw})
	if a != again || len(a.paths) != 1 || !a.leads(f.user.cert, signedAt) {
		t.Errorf("the CAs are read again, or have no path: %v", a.paths)
	}
	in := is.input(f)
	r, check := k.known.readOCSP(in.OCSP, in.Signature, f.user.cert, a)
	if check != "" || !r.known {
		t.Errorf("the responder is not known: %q", check)
	}
	got, err := k.without(in)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Verify(in)
	if err != nil {
		t.Fatal(err)
	}
	if got.Serial != want.Serial || got.Issuer != want.Issuer || got.Name != want.Name || got.Kind != want.Kind || !got.SignedAt.Equal(want.SignedAt) ||
		!got.NotAfter.Equal(want.NotAfter) || string(got.Visible) != string(want.Visible) || got.RPName != want.RPName {
		t.Errorf("Verify = %#v, want %#v", got, want)
	}
}

// TestRefusedIsForgotten: whatever is refused, and for whatever reason, leaves
// nothing behind, the good parts of it included.
func TestRefusedIsForgotten(t *testing.T) {
	t.Parallel()
	is := theIssuer()
	stranger := &issuer{root: certify(ca("Test Root CA"), userKey(), nil)}
	stranger.bank = certify(ca("Test Bank A CA"), userKey(), stranger.root)
	stranger.customer = certify(ca("Test Bank A Customer CA1"), userKey(), stranger.bank)
	for name, c := range map[string]struct {
		forge  func() *forgery
		change func(*VerifyInput)
		check  string
	}{
		"somebody's own bank": {func() *forgery { return is.by(stranger.customer, stranger.bank) }, nil, "chain"},
		"revoked":             {func() *forgery { f := is.forge(Identification); f.status = revoked(signedAt); return f }, nil, "ocspStatus"},
		"another party":       {nil, func(in *VerifyInput) { in.RPName = "cn=Somebody" }, "rpName"},
		"another person":      {nil, func(in *VerifyInput) { in.PersonalNumber = "199001032391" }, "personalNumber"},
		"another order":       {nil, func(in *VerifyInput) { in.End = in.Start.Add(-time.Second) }, "ocspTime"},
		"another signature":   {nil, func(in *VerifyInput) { in.Signature += "\n" }, "ocspNonce"},
	} {
		f := is.forge(Identification)
		if c.forge != nil {
			f = c.forge()
		}
		in := is.input(f)
		if c.change != nil {
			c.change(&in)
		}
		k := is.verifier()
		for range 2 {
			judge(t, name, k.without, in, c.check)
			if ca, responder := k.remembers(f); ca || responder {
				t.Errorf("%s: remembered: the CAs %v, the responder %v", name, ca, responder)
			}
		}
	}
}

// TestKnownResponder: one that is known answers for the issuer that made it,
// while it is valid, and in its own certificate's words only.
func TestKnownResponder(t *testing.T) {
	t.Parallel()
	is := theIssuer()
	k := is.warm(t)
	other := certify(ca("Test Bank B Customer CA1"), userKey(), is.bank)
	twin := certify(ca("Test Bank A Customer CA1"), userKey(), is.bank) // the same name, and another key
	for _, customer := range []*holder{other, twin} {
		if _, err := k.without(is.input(is.by(customer, is.bank))); err != nil {
			t.Fatal(err)
		}
	}
	borrowed := func(customer *holder) *forgery {
		f := is.by(customer, is.bank)
		f.responder = is.responder
		return f
	}
	resigned := func(change func(*x509.Certificate), by *holder) *forgery {
		f := is.forge(Identification)
		tmpl := responder()
		change(tmpl)
		tmpl.SerialNumber = is.responder.cert.SerialNumber
		f.responder = certified(tmpl, &is.responder.key.PublicKey, is.responder.key, by)
		return f
	}
	nothing := func(*x509.Certificate) {}
	forever := func(c *x509.Certificate) { c.NotAfter = signedAt.AddDate(5, 0, 0) }
	for name, c := range map[string]struct {
		f     *forgery
		at    time.Time
		check string
	}{
		"its own issuer":                  {is.forge(Identification), signedAt, ""},
		"another issuer":                  {borrowed(other), signedAt, "ocspResponder"},
		"an issuer of the same name":      {borrowed(twin), signedAt, "ocspResponder"},
		"at its end":                      {is.forge(Identification), is.responder.cert.NotAfter, ""},
		"after its end":                   {is.forge(Identification), is.responder.cert.NotAfter.Add(time.Second), "ocspResponder"},
		"before its beginning":            {is.forge(Identification), is.responder.cert.NotBefore.Add(-time.Second), "ocspResponder"},
		"a certificate that it gave":      {resigned(forever, is.responder), signedAt, "ocspResponder"},
		"a certificate of another CA":     {resigned(nothing, other), signedAt, "ocspResponder"},
		"a certificate of a person":       {resigned(nothing, is.forge(Identification).user), signedAt, "ocspResponder"},
		"a certificate for something":     {resigned(func(c *x509.Certificate) { c.ExtKeyUsage = nil }, is.customer), signedAt, "ocspResponder"},
		"another certificate, its issuer": {resigned(forever, is.customer), signedAt, ""},
	} {
		in := is.at(c.f, c.at)
		for range 2 {
			judge(t, name, k.without, in, c.check)
		}
		judge(t, name+", by the function", Verify, in, c.check)
	}
	// The known certificate, with an answer that another key has signed.
	f := is.forge(Identification)
	f.responder = &holder{is.responder.cert, userKey()}
	judge(t, "another key", k.without, is.input(f), "ocspSignature")
}

// TestKnownCAs: CAs that are known have issued who they have issued, and are
// valid when they are.
func TestKnownCAs(t *testing.T) {
	t.Parallel()
	is := theIssuer()
	k := is.warm(t)
	soon := signedAt.Add(time.Hour)
	ending := func(name string, by *holder) *holder {
		tmpl := ca(name)
		tmpl.NotAfter = soon
		return certify(tmpl, userKey(), by)
	}
	endingBank := ending("Test Bank C CA", is.root)
	ofEndingBank := certify(ca("Test Bank C Customer CA1"), userKey(), endingBank)
	endingCustomer := ending("Test Bank D Customer CA1", is.bank)
	endingRoot := ending("Test Root CA2", nil)
	bank := certify(ca("Test Bank E CA"), userKey(), endingRoot)
	ofEndingRoot := certify(ca("Test Bank E Customer CA1"), userKey(), bank)
	for name, c := range map[string]struct {
		root            *holder
		customer, above *holder
	}{
		"the bank":     {is.root, ofEndingBank, endingBank},
		"the customer": {is.root, endingCustomer, is.bank},
		"the root":     {endingRoot, ofEndingRoot, bank},
	} {
		under := &issuer{root: c.root, bank: c.above, customer: c.customer, responder: is.responder}
		k := under.verifier()
		for _, when := range []struct {
			at    time.Time
			check string
		}{{signedAt, ""}, {soon, ""}, {soon.Add(time.Second), "chain"}, {signedAt, ""}, {signedAt.AddDate(-5, 0, -1), "ocspResponder"}} {
			in := under.at(under.by(c.customer, c.above), when.at)
			judge(t, name+" at "+when.at.String(), k.without, in, when.check)
			judge(t, name+" at "+when.at.String()+", by the function", Verify, in, when.check)
		}
	}

	// A CA whose time begins after its responder's.
	tmpl := ca("Test Bank G CA")
	tmpl.NotBefore = signedAt
	bank = certify(tmpl, userKey(), is.root)
	ofNewBank := certify(ca("Test Bank G Customer CA1"), userKey(), bank)
	for _, when := range []struct {
		at    time.Time
		check string
	}{{signedAt, ""}, {signedAt.Add(-time.Second), "chain"}} {
		in := is.at(is.by(ofNewBank, bank), when.at)
		judge(t, "a new bank at "+when.at.String(), k.without, in, when.check)
		judge(t, "a new bank at "+when.at.String()+", by the function", Verify, in, when.check)
	}

	// The user is somebody else's, who has the CA's name.
	impostor := certify(ca("Test Bank A Customer CA1"), userKey(), nil)
	f := is.forge(Identification)
	f.user = certify(user(person), userKey(), impostor)
	f.certs[0], f.certID.Serial = f.user.cert, f.user.cert.SerialNumber
	judge(t, "an impostor's user", k.without, is.input(f), "chain")

	// The user's own time counts each time.
	f = is.forge(Identification)
	tmpl = user(person)
	tmpl.NotAfter = signedAt.Add(-time.Second)
	f.user = certify(tmpl, userKey(), is.customer)
	f.certs[0], f.certID = f.user.cert, idOf(f.user.cert, is.customer.cert)
	judge(t, "a user whose time is over", k.without, is.input(f), "chain")

	// The CA itself is not a user.
	f = is.forge(Identification)
	f.user = &holder{is.customer.cert, is.customer.key}
	f.certs[0], f.certID = is.customer.cert, idOf(is.customer.cert, is.customer.cert)
	judge(t, "the CA as user", k.without, is.input(f), "chain")

	// The bytes of the known CAs, with the seam in another place.
	f = is.forge(Identification)
	both := slices.Concat(is.customer.cert.Raw, is.bank.cert.Raw)
	f.certs = []*x509.Certificate{f.user.cert, {Raw: both[:len(both)-9]}, {Raw: both[len(both)-9:]}}
	judge(t, "the same bytes", k.without, is.input(f), "certificate")

	// Another environment knows nothing of it.
	abroad := &issuer{root: certify(ca("Test Root CA"), userKey(), nil)}
	judge(t, "another environment", abroad.verifier().without, is.input(is.forge(Identification)), "chain")
}

// TestConstrainedPaths: extensions whose meaning depends on the rest of the
// path are looked at each time.
func TestConstrainedPaths(t *testing.T) {
	t.Parallel()
	is := theIssuer()
	// policyConstraints: an explicit policy is required from here on.
	explicit := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 36}, Critical: true, Value: []byte{0x30, 0x03, 0x80, 0x01, 0x00}}
	of := func(change func(bank *x509.Certificate)) func(func(*x509.Certificate)) *forgery {
		tmpl := ca("Test Bank F CA")
		change(tmpl)
		bank := certify(tmpl, userKey(), is.root)
		customer := certify(ca("Test Bank F Customer CA1"), userKey(), bank)
		return func(change func(*x509.Certificate)) *forgery {
			f := is.by(customer, bank)
			tmpl := user(person)
			change(tmpl)
			f.user = certify(tmpl, userKey(), customer)
			f.certs[0], f.certID = f.user.cert, idOf(f.user.cert, customer.cert)
			return f
		}
	}
	plain := func(*x509.Certificate) {}
	named := func(c *x509.Certificate) { c.DNSNames = []string{"evil.example"} }
	file := func(c *x509.Certificate) { c.Policies = []x509.OID{filePol} }
	for name, c := range map[string]struct {
		bank         func(*x509.Certificate)
		first, then  func(*x509.Certificate)
		check        string
		remembersOne bool
	}{
		"names of others":      {func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"bank.example"} }, plain, named, "chain", false},
		"any names":            {plain, plain, named, "", true},
		"a policy of the CAs'": {func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{explicit} }, file, plain, "chain", false},
		"a policy for itself":  {plain, plain, func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{explicit} }, "chain", true},
		"a longer path":        {func(c *x509.Certificate) { c.MaxPathLen = 1 }, plain, plain, "", true},
	} {
		forge := of(c.bank)
		k := is.verifier()
		first := forge(c.first)
		judge(t, name+", first", k.without, is.input(first), "")
		if ca, _ := k.remembers(first); ca != c.remembersOne {
			t.Errorf("%s: remembered: %v", name, ca)
		}
		in := is.input(forge(c.then))
		judge(t, name, k.without, in, c.check)
		judge(t, name+", by the function", Verify, in, c.check)
	}
	short := of(func(c *x509.Certificate) { c.MaxPathLenZero = true })
	k := is.verifier()
	judge(t, "too long a path", k.without, is.input(short(plain)), "chain")
}

// TestVerifierIsShared: many at once, more banks than are remembered, and the
// honest among the others.
func TestVerifierIsShared(t *testing.T) {
	t.Parallel()
	is := theIssuer()
	k := is.verifier()
	k.known = newMemory(2)
	type asked struct {
		in    VerifyInput
		check string
	}
	var all []asked
	for _, name := range strings.Fields("G H I J") {
		customer := certify(ca("Test Bank "+name+" Customer CA1"), userKey(), is.bank)
		good, bad := is.by(customer, is.bank), is.by(customer, is.bank)
		bad.responder = is.responder
		all = append(all, asked{is.input(good), ""}, asked{is.input(bad), "ocspResponder"})
	}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 2 * len(all) {
				a := all[(i*3+n)%len(all)]
				judge(t, "shared", k.without, a.in, a.check)
			}
		})
	}
	wg.Wait()
}

// TestVerifierHasItsRoots: it is not asked to trust anybody else.
func TestVerifierHasItsRoots(t *testing.T) {
	t.Parallel()
	is := theIssuer()
	in := is.input(is.forge(Identification))
	judge(t, "roots of its own", is.warm(t).Verify, in, "chain")
	for _, text := range []string{"", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if v, err := NewVerifier(text); err == nil || v != nil {
			t.Errorf("NewVerifier(%q) = %v, %v", text, v, err)
		}
	}
}
