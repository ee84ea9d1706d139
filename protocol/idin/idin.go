// Package idin speaks iDx, the XML messages between a merchant of iDIN and the
// routing service of its acquirer, and reads the SAML assertion of the bank
// inside them. docs/protocols/idin.md describes both; § in comments refers to
// that file.
//
// A Client makes one HTTP request a call and keeps nothing: which bank, when to
// ask for a status, and what becomes of a person are the caller's affair. The
// answer to a status request comes in three steps, since a bank gives data only
// once: Client.Status fetches it, to be stored as it is; Merchant.ReadStatus
// verifies both signatures and everything that is not encrypted; Status.Open
// decrypts. Whatever is read comes from the octets that were signed.
package idin

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A Merchant is one contract with an acquirer: who we are, whom we trust, and
// where the routing service is (§14). It is not changed while it is in use.
type Merchant struct {
	ID      string // merchantID, 10 digits of which the first 4 are the acquirer's
	SubID   int    // 0 to 999999, 0 for none
	LegalID string // the Audience that assertions must name; "" accepts any (§7)

	DirectoryURL, TransactionURL, StatusURL string // https, may be one and the same

	Certificate *x509.Certificate   // of Key; the acquirer knows it by its fingerprint
	Key         crypto.Signer       // RSA, signs what is sent
	Decryption  []crypto.Decrypter  // RSA, the current key first, then previous ones
	Routing     []*x509.Certificate // the routing service's, current and alternate

	Pins    map[string][]string // BIC of an issuer → hex SHA-256 of SubjectPublicKeyInfo; an issuer without entry is not pinned
	Aliases map[string][]string // BIC of an issuer → BICs that may answer in its place

	IssuerDates bool          // refuse assertions whose certificate is outside its dates; otherwise that is noted
	Skew        time.Duration // tolerance for the times of an assertion, at most 5 min; zero for 5 s
	AllowHTTP   bool          // also http addresses: for a simulator
}

const (
	defaultSkew = 5 * time.Second
	maxSkew     = 5 * time.Minute
	maxURL      = 512 // characters of any address in a message (§4)
	maxSubID    = 999_999
)

var (
	tenDigits = regexp.MustCompile(`^[0-9]{10}$`)
	bic       = regexp.MustCompile(`^[A-Z]{6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3})?$`)
)

// ValidIssuer says whether a text has the form of an issuerID: a BIC of 8 or
// 11 characters (§4).
func ValidIssuer(id string) bool { return bic.MatchString(id) }

// Check finds everything that is wrong with the settings, joined.
func (m *Merchant) Check() error {
	var errs []error
	wrong := func(bad bool, text string) {
		if bad {
			errs = append(errs, errors.New(text))
		}
	}
	wrong(!tenDigits.MatchString(m.ID), "merchantID must have 10 digits")
	wrong(m.SubID < 0 || m.SubID > maxSubID, "subID must lie between 0 and 999999")
	wrong(m.Skew < 0 || m.Skew > maxSkew, "skew must lie between 0 and 5m")
	for name, u := range map[string]string{"directory": m.DirectoryURL, "transaction": m.TransactionURL, "status": m.StatusURL} {
		wrong(!m.reachable(u), name+" URL must be https, with a host, of at most 512 characters")
	}
	switch {
	case m.Certificate == nil || m.Key == nil:
		wrong(true, "message key and certificate are required")
	default:
		key, ok := m.Key.Public().(*rsa.PublicKey)
		wrong(!ok || !strong(key), "message key must be RSA with 2048 bits or more")
		wrong(ok && !key.Equal(m.Certificate.PublicKey), "message key and certificate do not fit")
	}
	wrong(len(m.Decryption) == 0, "a decryption key is required")
	for i, d := range m.Decryption {
		wrong(d == nil || !strong(d.Public()), fmt.Sprintf("decryption key %d must be RSA with 2048 bits or more", i+1))
	}
	wrong(len(m.Routing) == 0, "a certificate of the routing service is required")
	for i, c := range m.Routing {
		wrong(c == nil || !strong(c.PublicKey), fmt.Sprintf("routing service certificate %d must have an RSA key with 2048 bits or more", i+1))
	}
	for issuer, pins := range m.Pins {
		wrong(!ValidIssuer(issuer), "pins name an issuer that is no BIC")
		for _, p := range pins {
			raw, err := hex.DecodeString(p)
			wrong(err != nil || len(raw) != sha256.Size, "a pin must be a SHA-256 in hex")
		}
	}
	for issuer, others := range m.Aliases {
		wrong(!ValidIssuer(issuer) || !each(others, ValidIssuer), "aliases name an issuer that is no BIC")
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) }) // maps have no order
	return errors.Join(errs...)
}

func each(all []string, is func(string) bool) bool {
	return !slices.ContainsFunc(all, func(s string) bool { return !is(s) })
}

// reachable says whether an address may be called, or shown to a browser.
func (m *Merchant) reachable(address string) bool {
	u, err := url.Parse(address)
	return err == nil && printable(address) && len(address) <= maxURL && u.Host != "" && u.User == nil &&
		(u.Scheme == "https" || m.AllowHTTP && u.Scheme == "http")
}

// printable says whether a text has the characters of an address: ASCII, without
// blanks, which XML and browsers would strip.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func strong(key any) bool {
	k, ok := key.(*rsa.PublicKey)
	return ok && k.N.BitLen() >= 2048 && k.N.BitLen() <= 8192
}

// acquirer is the acquirerID, by which merchantIDs begin (§4).
func (m *Merchant) acquirer() string { return m.ID[:min(4, len(m.ID))] }

func (m *Merchant) skew() time.Duration {
	if m.Skew == 0 {
		return defaultSkew
	}
	return m.Skew
}
