package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"eidgate/eid"
	"eidgate/internal/jose"
	"eidgate/relying"
	"eidgate/store"
)

// client finds everything that is wrong with a client. What a client may be is
// known by relying.Client; the files that one is made of are known here.
func (k *checker) client(at string, c *OIDCClientConfig, a *AccountConfig, seen map[string]string) {
	if other := seen["client "+c.ClientID]; other != "" {
		k.doc.Report(at+".client_id", "is the id of %s too", other)
	}
	seen["client "+c.ClientID] = at
	if c.ClientID == sandboxClient {
		k.doc.Report(at+".client_id", "is that of the sandbox, which everybody knows; choose another")
	}
	for i := range c.Secrets {
		k.clientSecret(fmt.Sprintf("%s.secrets.%d", at, i), &c.Secrets[i], seen)
	}
	if c.JWKSFile != "" {
		k.publicKeys(at+".jwks_file", c.JWKSFile, readKeySet)
	}
	for i := range c.Keys {
		here, key := fmt.Sprintf("%s.keys.%d", at, i), &c.Keys[i]
		if key.File == "" {
			k.doc.Report(here+".file", "is required: the public key as a JWK")
		} else {
			k.publicKeys(here+".file", key.File, readKeyFile)
		}
		k.day(here+".not_before", key.NotBefore)
		k.day(here+".not_after", key.NotAfter)
	}
	for i, e := range c.EIDs {
		here := fmt.Sprintf("%s.eids.%d", at, i)
		if _, known := constructors[eid.EID(e)]; !known {
			k.doc.Report(here, "%q is not an eID that this server has", e)
		} else if len(a.EIDs) > 0 && !slices.Contains(a.EIDs, e) {
			k.doc.Report(here, "%q is not among the account's eids", e)
		}
	}
	if len(c.Scopes) > 0 && !slices.Contains(c.Scopes, "openid") {
		k.doc.Report(at+".scopes", "must have openid, or nobody can log in")
	}
	k.clientTLS(at, c)
	k.clientRules(at, c, a)
}

// clientTLS finds what a client needs that the server does not have.
func (k *checker) clientTLS(at string, c *OIDCClientConfig) {
	auth := relying.AuthMethod(c.Auth)
	own := c.Certificate != nil && c.Certificate.CAFile != ""
	if k.of.Listen.MTLS == "" && (auth == relying.TLS || auth == relying.SelfSignedTLS) {
		k.doc.Report(at+".token_endpoint_auth_method", "%s needs server.listen.mtls, where clients show their certificates", auth)
	}
	if k.of.Listen.MTLS == "" && c.BoundTLS {
		k.doc.Report(at+".tls_client_certificate_bound_access_tokens", "needs server.listen.mtls, where clients show their certificates")
	}
	if auth == relying.TLS && !own && k.of.MTLSRoots == "" {
		k.doc.Report(at+".certificate.ca_file", "or server.mtls_roots is required: who may issue the client's certificate")
	}
	if own {
		k.file(at+".certificate.ca_file", c.Certificate.CAFile)
	}
}

// clientFiles turns members that the configuration has in files into its keys.
var clientFiles = []struct {
	member *regexp.Regexp
	key    string
}{
	{regexp.MustCompile(`^(secrets\.\d+)\.hash$`), "$1.file"},
	{regexp.MustCompile(`^(keys\.\d+)\.jwk$`), "$1.file"},
	{regexp.MustCompile(`^jwks(\..*)?$`), "jwks_file"},
	{regexp.MustCompile(`^certificate\.roots$`), "certificate.ca_file"},
}

// clientRules reports what the rules for clients say, under the keys of the
// configuration. Where a file was of no use, that is not told a second time.
func (k *checker) clientRules(at string, c *OIDCClientConfig, a *AccountConfig) {
	rec, unread := c.record(a)
	all, ok := rec.Check().(interface{ Unwrap() []error }) //nolint:errorlint // a list, not a chain
	if !ok {
		return
	}
	for _, err := range all.Unwrap() {
		p, ok := errors.AsType[*relying.Problem](err)
		if !ok || p.Member == "account" || strings.HasSuffix(p.Rule, "[]") { // told already: the account's id, a profile that allows nothing
			continue
		}
		key, inFile := p.Member, false
		for _, f := range clientFiles {
			inFile = inFile || f.member.MatchString(p.Member)
			key = f.member.ReplaceAllString(key, f.key)
		}
		if !inFile || unread == nil {
			k.doc.Report(at+"."+key, "%s", p.Rule)
		}
	}
}

// publicKeys is file, and it holds what is read from it.
func (k *checker) publicKeys(path, name string, read func(string) (json.RawMessage, error)) {
	if !k.file(path, name) {
		return
	}
	if _, err := read(name); err != nil {
		k.doc.Report(path, "%v", err)
	}
}

func (k *checker) clientSecret(at string, s *OIDCSecretConfig, seen map[string]string) {
	k.day(at+".expires", s.Expires)
	if !k.secret(at+".file", s.File) {
		return
	}
	text, err := readClientSecret(s.File)
	switch {
	case err != nil:
		k.doc.Report(at+".file", "%v", err)
	case text == sandboxClientSecret:
		k.doc.Report(at+".file", "holds the secret of the sandbox, which everybody knows")
	case seen["client secret "+text] != "":
		k.doc.Report(at+".file", "holds the same secret as %s", seen["client secret "+text])
	default:
		seen["client secret "+text] = at
	}
}

func (k *checker) day(path, text string) {
	if _, err := day(text); err != nil {
		k.doc.Report(path, "%q is not a day such as 2027-01-31", text)
	}
}

// day is the beginning of a day in UTC; "" is none.
func day(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.DateOnly, text)
}

var clientSecretForm = regexp.MustCompile(`^[!-~]{32,200}$`)

func readClientSecret(path string) (string, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // named by the configuration
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(raw))
	if !clientSecretForm.MatchString(text) {
		return "", errors.New("must hold 32 to 200 random letters and digits: openssl rand -hex 32")
	}
	return text, nil
}

// record is the client as the store keeps it. The error is about files, which
// are left out of it.
func (c *OIDCClientConfig) record(a *AccountConfig) (*relying.Client, error) {
	out := &relying.Client{ID: c.ClientID, Account: a.ID, Environment: eid.Environment(c.Environment), Name: orElse(c.ClientName, a.Name), Layout: c.Layout,
		Profile: relying.Profile(orElse(c.Profile, string(relying.Signicat))), Native: c.Native, Hybrid: c.Hybrid,
		Redirects: c.Redirects, Logouts: c.Logouts, BackLogout: c.BackLogout, SandboxReturn: c.AnyLoopback,
		Scopes: c.Scopes, AuthAlg: c.AuthAlg, JWKSURI: c.JWKSURI, RequestAlg: c.RequestAlg, IDTokenAlg: c.IDTokenAlg,
		IDTokenEnc: relying.Encryption(c.IDTokenEnc), EncryptIDToken: c.EncryptID, UserData: relying.UserData(c.UserData),
		Userinfo: relying.UserinfoResponse(c.Userinfo), UserinfoAlg: c.UserinfoAlg, UserinfoEnc: relying.Encryption(c.UserinfoEnc),
		RequirePKCE: c.RequirePKCE, RequirePAR: c.RequirePAR, RequireRequest: c.RequireJAR, BareObject: c.BareObject, ForceLogin: c.ForceLogin,
		ReferenceTokens: c.Reference, BoundTLS: c.BoundTLS, Lifetimes: relying.Lifetimes(c.Lifetimes), ACRValues: c.ACRValues, ForceACR: c.ForceACR,
		Errors: relying.ErrorWord(c.Errors), StringsOnly: c.StringsOnly, FrameAncestor: c.FrameAncestor}
	if len(out.Scopes) == 0 {
		out.Scopes = []string{"openid"}
	}
	for _, e := range c.EIDs {
		out.EIDs = append(out.EIDs, eid.EID(e))
	}
	out.Auth = relying.AuthMethod(c.Auth)
	if out.Auth == "" {
		out.Auth = relying.SecretBasic
		if strong := out.Policy().Auth; len(strong) > 0 && !slices.Contains(strong, out.Auth) {
			out.Auth = strong[0]
		}
	}
	if c.Certificate != nil {
		out.Certificate = relying.CertificateName{Subject: c.Certificate.Subject, DNS: c.Certificate.DNS, URI: c.Certificate.URI, IP: c.Certificate.IP, Email: c.Certificate.Email}
	}
	return out, c.files(out)
}

// files adds what is in files.
func (c *OIDCClientConfig) files(out *relying.Client) error {
	var errs []error
	for i := range c.Secrets {
		s := &c.Secrets[i]
		rec := relying.ClientSecret{Name: s.Name}
		text, err := readClientSecret(s.File)
		if err == nil {
			rec.Hash = relying.HashSecret(text)
		}
		errs = append(errs, err)
		rec.Expires, err = day(s.Expires)
		errs = append(errs, err)
		out.Secrets = append(out.Secrets, rec)
	}
	var err error
	if c.Certificate != nil && c.Certificate.CAFile != "" {
		raw, err := os.ReadFile(c.Certificate.CAFile)
		errs = append(errs, err)
		out.Certificate.Roots = string(raw)
	}
	if c.JWKSFile != "" {
		out.JWKS, err = readKeySet(c.JWKSFile)
		errs = append(errs, err)
	}
	for i := range c.Keys {
		key := &c.Keys[i]
		rec := relying.ClientKey{Name: key.Name}
		rec.JWK, err = readKeyFile(key.File)
		errs = append(errs, err)
		rec.NotBefore, err = day(key.NotBefore)
		errs = append(errs, err)
		rec.NotAfter, err = day(key.NotAfter)
		errs = append(errs, err)
		out.Keys = append(out.Keys, rec)
	}
	return errors.Join(errs...)
}

// usableKeys is what a client's key may be.
const usableKeys = "a public key: RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519"

// readKeyFile reads a JWK, which is kept as it is.
func readKeyFile(path string) (json.RawMessage, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // named by the configuration
	if err != nil {
		return nil, err
	}
	if _, err := jose.ParseJWK(raw); err != nil {
		return nil, fmt.Errorf("does not hold the JWK of %s (%w)", usableKeys, err)
	}
	return raw, nil
}

// readKeySet reads a JWK set, in which there may be keys that are of no use.
func readKeySet(path string) (json.RawMessage, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // named by the configuration
	if err != nil {
		return nil, err
	}
	set, err := jose.ParseJWKS(raw)
	if err != nil {
		return nil, fmt.Errorf("does not hold a JWK set (%w)", err)
	}
	if len(set.Keys) == 0 {
		return nil, fmt.Errorf("has not one JWK of %s", usableKeys)
	}
	return raw, nil
}

// clients writes the account's clients into the store.
func (a *AccountConfig) clients(ctx context.Context, to *store.Store) error {
	for i := range a.OIDCClients {
		rec, err := a.OIDCClients[i].record(a)
		if err != nil {
			return fmt.Errorf("client %s: %w", a.OIDCClients[i].ClientID, err)
		}
		if err := to.PutClient(ctx, rec); err != nil {
			return fmt.Errorf("client %s: %w", rec.ID, err)
		}
	}
	return nil
}
