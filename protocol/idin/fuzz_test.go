package idin_test

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"eidgate/protocol/idin"
)

// attempt runs what builds a message of a fuzzed text, and says whether that can
// be built at all.
func attempt(build func() []byte) (raw []byte, ok bool) {
	defer func() {
		if recover() != nil {
			raw, ok = nil, false
		}
	}()
	return build(), true
}

// kept is what is between two marks.
func kept(raw []byte, from, to string) string {
	_, rest, _ := strings.Cut(string(raw), from)
	text, _, _ := strings.Cut(rest, to)
	return text
}

// harmless fails on errors of other types than are promised, and on texts that
// quote a message.
func harmless(t *testing.T, err error) {
	t.Helper()
	var refused *idin.RefusedError
	var said *idin.Error
	switch {
	case errors.As(err, &refused), errors.As(err, &said), errors.Is(err, idin.ErrNoData):
	default:
		t.Errorf("%T: %v", err, err)
	}
	if text := err.Error(); strings.Contains(text, "NLBANK") || !regexp.MustCompile(`^[ -~]{1,200}$`).MatchString(text) {
		t.Errorf("error %q", text)
	}
}

var plainNote = regexp.MustCompile(`^[A-Za-z0-9+]+ [a-zA-Z0-9+ ,]+$`)

// FuzzReadStatus gives four things to the reader: any message; any content of a
// message with a good signature; any content of an assertion with two good
// signatures; any plaintext encrypted in one. Nothing may panic, errors are of
// the types that are promised, and what is read keeps its promises.
func FuzzReadStatus(f *testing.F) {
	m := merchant()
	plain, good := success(), success().raw(f)
	worldline := success()
	worldline.worldline = true
	for _, raw := range [][]byte{good, worldline.raw(f), good[:len(good)/2], vector(f, "success.xml"), vector(f, "open.xml"), vector(f, "ap3000.xml")} {
		f.Add(uint8(0), string(raw))
	}
	body := kept(good, `version="1.0.0">`, "</Transaction>")
	f.Add(uint8(1), body+"</Transaction>")
	f.Add(uint8(1), kept(vector(f, "open.xml"), `productID="NL:BVN:BankID:1.0">`, "<Signature"))
	inner := plain.response(f, "saml", "")
	f.Add(uint8(2), inner[strings.Index(inner, "<saml:Issuer>"):strings.Index(inner, "</saml:Assertion>")])
	for _, a := range [][2]string{{"initials", "VJ"}, {"is18orolder", "true"}, {"dateofbirth", "19500000"}, {"shoesize", "43"}} {
		f.Add(uint8(3), attribute(a[0], a[1], ""))
	}
	f.Add(uint8(3), `<a b="`)
	f.Add(uint8(3), `<saml:NameID xmlns:saml="`+saml+`">x</saml:NameID>`)
	f.Fuzz(func(t *testing.T, way uint8, text string) {
		raw, ok := attempt(func() []byte {
			a := success()
			switch way % 4 {
			case 1:
				return signed(noTest{}, "AcquirerStatusRes", text)
			case 2:
				a.inAssertion = func(s string) string {
					return s[:strings.Index(s, "<saml:Issuer>")] + text + "</saml:Assertion>"
				}
				return a.raw(noTest{})
			case 3:
				a.seal = func(s string) string {
					if strings.Contains(s, "initials") {
						s = text
					}
					return encrypt(noTest{}, s, &us().key.PublicKey)
				}
				return a.raw(noTest{})
			}
			return []byte(text)
		})
		if !ok {
			return
		}
		s, err := m.ReadStatus(raw, want, now)
		if err != nil {
			harmless(t, err)
			return
		}
		if s.TransactionID != want.TransactionID || s.State == idin.Success &&
			(s.Issuer != want.Issuer || s.Level != idin.Substantial || !s.NotAfter.After(now.Add(-5*time.Second))) {
			t.Errorf("accepted: %+v", *s)
		}
		if s.State != idin.Success {
			return
		}
		p, err := s.Open(t.Context(), nil)
		if err != nil {
			harmless(t, err)
			return
		}
		if p.BIN == "" || p.Transient != "" {
			t.Error("a BIN was asked for, and something else was taken")
		}
		for _, n := range append(s.Notes, p.Notes...) {
			if !plainNote.MatchString(string(n)) {
				t.Errorf("note %q", n)
			}
		}
	})
}

// FuzzReadDirectory: a list that is read can be shown as it is.
func FuzzReadDirectory(f *testing.F) {
	m := merchant()
	f.Add(false, string(signed(f, "DirectoryRes", created()+goodDirectory)))
	f.Add(true, created()+goodDirectory)
	f.Add(true, strings.ReplaceAll(created()+goodDirectory, "><", ">\n<"))
	f.Add(true, created()+strings.ReplaceAll(goodDirectory, "BANKNL2Y", "CURRNL2A"))
	f.Fuzz(func(t *testing.T, sign bool, text string) {
		raw, ok := []byte(text), true
		if sign {
			raw, ok = attempt(func() []byte { return signed(noTest{}, "DirectoryRes", text) })
		}
		if !ok {
			return
		}
		d, err := m.ReadDirectory(raw, now)
		if err != nil {
			harmless(t, err)
			return
		}
		seen := map[string]bool{}
		for _, c := range d.Countries {
			for _, i := range c.Issuers {
				if found, ok := d.Issuer(i.ID); !ok || found != i || !idin.ValidIssuer(i.ID) || i.Name == "" || seen[i.ID] {
					t.Errorf("issuer %+v", i)
				}
				seen[i.ID] = true
			}
		}
		if len(seen) == 0 {
			t.Error("a list without banks is read")
		}
	})
}

// FuzzReadStarted: a browser is sent to nothing but https, and only for a message
// that is signed.
func FuzzReadStarted(f *testing.F) {
	m := merchant()
	f.Add(false, string(signed(f, "AcquirerTrxRes", created()+goodStart)))
	f.Add(true, created()+goodStart)
	f.Add(true, created()+strings.Replace(goodStart, "https://", "javascript:", 1))
	f.Add(false, string(vector(f, "ap3000.xml")))
	f.Fuzz(func(t *testing.T, sign bool, text string) {
		raw, ok := []byte(text), true
		if sign {
			raw, ok = attempt(func() []byte { return signed(noTest{}, "AcquirerTrxRes", text) })
		}
		if !ok {
			return
		}
		s, err := m.ReadStarted(raw, now)
		if err != nil {
			harmless(t, err)
			return
		}
		if !strings.HasPrefix(strings.ToLower(s.URL), "https://") || len(s.URL) > 512 || !regexp.MustCompile(`^[0-9]{16}$`).MatchString(s.TransactionID) {
			t.Errorf("%q, %q", s.URL, s.TransactionID)
		}
		if !sign && !bytes.Contains(raw, []byte("SignatureValue")) {
			t.Error("an unsigned message is believed")
		}
	})
}
