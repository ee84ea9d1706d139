package idin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"

	"github.com/beevik/etree"

	"eidgate/internal/xmldsig"
)

// A Person is what a bank says of somebody. What it does not say is empty, and
// never guessed: iDIN has no first names.
type Person struct {
	BIN       string // the bank's lasting number of this person for this merchant: opaque, up to 1026 characters
	Transient string // instead of the BIN, another one each time
	FormerBIN string // the BIN before the bank renumbered

	Initials                string // capitals without dots
	LegalLastName           string // each without its prefix
	LegalLastNamePrefix     string
	PreferredLastName       string
	PreferredLastNamePrefix string
	PartnerLastName         string
	PartnerLastNamePrefix   string

	BirthDate string // YYYYMMDD as text: month and day may be 00
	Adult     *bool  // 18 or older; nil if the bank does not say, which proves nothing
	Gender    string // 0 unknown, 1 male, 2 female, 9 not specified

	Street            string
	HouseNumber       string
	HouseNumberSuffix string
	AddressExtra      string
	PostalCode        string
	City              string
	Country           string    // ISO 3166-1, two letters
	International     [3]string // lines of an address outside the Netherlands

	Telephone string
	Email     string

	DocumentID string            // of what was signed, as it was asked
	Other      map[string]string // attributes that this package does not know, by their whole name

	Missing ServiceID // Status.Missing
	Notes   []Note    // of what was decrypted
}

// A Semaphore bounds what decrypts at the same time; *semaphore.Weighted of
// golang.org/x/sync is one.
type Semaphore interface {
	Acquire(ctx context.Context, n int64) error
	Release(n int64)
}

const (
	attrPrefix    = "urn:nl:bvn:bankid:1.0:consumer."
	attrDelivered = "urn:nl:bvn:bankid:1.0:bankid.deliveredserviceid"
	attrDocument  = "urn:nl:bvn:bankid:1.0:merchant.documentID"
	transient     = "TRANS"
)

// A field is where an attribute goes, and what it looks like (§9). A value of
// another form is kept, and noted.
type field struct {
	at func(*Person) *string
	ok func(string) bool
}

var fields = map[string]field{
	"deprecatedbin":           {func(p *Person) *string { return &p.FormerBIN }, binForm},
	"initials":                {func(p *Person) *string { return &p.Initials }, like(`^\p{Lu}{1,24}$`)},
	"legallastname":           {func(p *Person) *string { return &p.LegalLastName }, upTo(200)},
	"legallastnameprefix":     {func(p *Person) *string { return &p.LegalLastNamePrefix }, upTo(10)},
	"preferredlastname":       {func(p *Person) *string { return &p.PreferredLastName }, upTo(200)},
	"preferredlastnameprefix": {func(p *Person) *string { return &p.PreferredLastNamePrefix }, upTo(10)},
	"partnerlastname":         {func(p *Person) *string { return &p.PartnerLastName }, upTo(200)},
	"partnerlastnameprefix":   {func(p *Person) *string { return &p.PartnerLastNamePrefix }, upTo(10)},
	"dateofbirth":             {func(p *Person) *string { return &p.BirthDate }, like(`^[0-9]{4}(0[0-9]|1[0-2])([0-2][0-9]|3[01])$`)},
	"gender":                  {func(p *Person) *string { return &p.Gender }, like(`^[0129]$`)},
	"street":                  {func(p *Person) *string { return &p.Street }, upTo(43)},
	"houseno":                 {func(p *Person) *string { return &p.HouseNumber }, like(`^[0-9]{1,5}$`)},
	"housenosuf":              {func(p *Person) *string { return &p.HouseNumberSuffix }, upTo(math.MaxInt)},
	"addressextra":            {func(p *Person) *string { return &p.AddressExtra }, upTo(70)},
	"postalcode":              {func(p *Person) *string { return &p.PostalCode }, like(`^[0-9]{4}[A-Z]{2}$`)},
	"city":                    {func(p *Person) *string { return &p.City }, upTo(24)},
	"country":                 {func(p *Person) *string { return &p.Country }, like(`^[A-Z]{2}$`)},
	"intaddressline1":         {func(p *Person) *string { return &p.International[0] }, upTo(70)},
	"intaddressline2":         {func(p *Person) *string { return &p.International[1] }, upTo(70)},
	"intaddressline3":         {func(p *Person) *string { return &p.International[2] }, upTo(70)},
	"telephone":               {func(p *Person) *string { return &p.Telephone }, like(`^[-0-9 +(),|]{1,20}$`)},
	"email":                   {func(p *Person) *string { return &p.Email }, upTo(255)},
}

func like(form string) func(string) bool { return regexp.MustCompile(form).MatchString }

// upTo says that a text has n characters at most, and none that controls.
func upTo(n int) func(string) bool {
	return func(s string) bool { return runes(s) <= n && !strings.ContainsFunc(s, unicode.IsControl) }
}

// binForm is what the scheme calls a BIN: two letters, and up to 1024
// characters. Banks of the test system have others.
func binForm(s string) bool {
	letter := func(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }
	return len(s) > 2 && letter(s[0]) && letter(s[1]) && upTo(1026)(s)
}

// Open decrypts what the bank says of the person: side by side as sem lets it,
// one after the other without sem. Every failure to decrypt is the same
// ReasonDecrypt. It may be called again.
func (s *Status) Open(ctx context.Context, sem Semaphore) (*Person, error) {
	if s.nameID == nil {
		return nil, errors.New("open iDIN status: there is no assertion in it")
	}
	opened, err := s.decrypt(ctx, sem)
	if err != nil {
		return nil, err
	}
	p := &Person{Other: map[string]string{}, Missing: s.Missing}
	if err := p.readNameID(opened[0], s.asked); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, el := range append(opened[1:], s.plain...) {
		if err := p.readAttribute(el, seen); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// decrypt opens the NameID and the encrypted attributes, in this order.
func (s *Status) decrypt(ctx context.Context, sem Semaphore) ([]*etree.Element, error) {
	sealed := append([]*etree.Element{s.nameID}, s.sealed...)
	opened, errs := make([]*etree.Element, len(sealed)), make([]error, len(sealed))
	var failed atomic.Bool // nothing more is begun then
	one := func(i int) {
		if opened[i], errs[i] = xmldsig.Decrypt(sealed[i], s.keys, xmldsig.Default); errs[i] != nil {
			failed.Store(true)
		}
	}
	var wait sync.WaitGroup
	for i := 0; i < len(sealed) && !failed.Load(); i++ {
		if sem == nil {
			if errs[i] = ctx.Err(); errs[i] != nil {
				break
			}
			one(i)
			continue
		}
		if errs[i] = sem.Acquire(ctx, 1); errs[i] != nil {
			break
		}
		wait.Go(func() {
			defer sem.Release(1)
			one(i)
		})
	}
	wait.Wait()
	for _, err := range errs {
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, fmt.Errorf("open iDIN status: %w", ctx.Err())
		case err != nil:
			return nil, refusedXML(Contents, err)
		}
	}
	return opened, nil
}

// readNameID tells the two kinds of number apart, by the text alone (§7.1).
func (p *Person) readNameID(el *etree.Element, asked ServiceID) error {
	text, ok := leaf(el)
	if !ok || text == "" || el.Tag != "NameID" || el.NamespaceURI() != nsSAML {
		return refused(Contents, ReasonSubject)
	}
	if len(text) >= len(transient) && strings.EqualFold(text[:len(transient)], transient) {
		if asked.Has(BIN) {
			return refused(Contents, ReasonSubject)
		}
		p.Transient = text
		return nil
	}
	p.BIN = text
	if !asked.Has(BIN) {
		p.note("NameID is a BIN, which was not asked for")
	}
	if !binForm(text) {
		p.note("NameID has another form")
	}
	return nil
}

// readAttribute takes one attribute; seen holds the names of those before it.
func (p *Person) readAttribute(el *etree.Element, seen map[string]bool) error {
	name, value, err := readAttribute(el)
	if err != nil {
		return err
	}
	suffix, _ := strings.CutPrefix(name, attrPrefix)
	if suffix == name {
		suffix = ""
	}
	if suffix == "18orolder" { // the other spelling of the same attribute (§9)
		suffix, name = "is18orolder", attrPrefix+"is18orolder"
	}
	if seen[name] {
		return refused(Contents, ReasonDuplicate)
	}
	seen[name] = true
	f, known := fields[suffix]
	switch {
	case value == "" && (known || suffix == "is18orolder"):
		p.note(suffix + " is empty")
	case known:
		*f.at(p) = value
		if !f.ok(value) {
			p.note(suffix + " has another form")
		}
	case suffix == "is18orolder" && (value == "true" || value == "false"):
		adult := value == "true"
		p.Adult = &adult
	case suffix == "is18orolder":
		p.note(suffix + " has another form")
	case name == attrDocument:
		p.DocumentID = value
	default:
		p.Other[name] = value
	}
	return nil
}

func (p *Person) note(text string) { p.Notes = append(p.Notes, Note(text)) }

// readAttribute reads the name and the only value of a saml:Attribute.
func readAttribute(el *etree.Element) (name, value string, err error) {
	r := &reader{part: Contents}
	if el.Tag != "Attribute" || el.NamespaceURI() != nsSAML {
		r.fail(ReasonAttribute)
	}
	name = r.attr(el, "Name")
	value = r.text(el, nsSAML, "AttributeValue")
	if r.err != nil || name == "" {
		return "", "", refused(Contents, ReasonAttribute)
	}
	return name, value, nil
}
