package openid

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"eidgate/sandbox"
)

// A Registration is what a relying party's settings need.
type Registration struct {
	Issuer, ClientID, Secret string
	Key, KeyID               string // PEM; "" for one with a secret
}

// Register adds a relying party with a way back; one with a secret has no key.
func (cs *Clients) Register(issuer, id, name, redirect string, secret bool) (Registration, error) {
	c := &Client{ID: id, Name: name, Redirects: []string{redirect}}
	out := Registration{Issuer: issuer, ClientID: id}
	if secret {
		c.Secret = Random()
		out.Secret = c.Secret
	} else {
		k := NewKey()
		text, err := PEM(k)
		if err != nil {
			return out, err
		}
		c.Key, c.KeyID = &k.PublicKey, "sig1"
		out.Key, out.KeyID = text, c.KeyID
	}
	cs.Add(c)
	return out, nil
}

// A Pepper makes names that last as long as the sandbox, and mean nothing
// elsewhere.
type Pepper []byte

// Digest is the same for the same parts.
func (p Pepper) Digest(parts ...string) [32]byte {
	h := sha256.New()
	h.Write(p)
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return [32]byte(h.Sum(nil))
}

// GUID is a digest in the form of a GUID.
func GUID(sum [32]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// FaultsOf are the faults that are on for one eID.
func FaultsOf(eid string, faults *sandbox.Faults) []sandbox.Fault {
	return slices.DeleteFunc(faults.List(), func(f sandbox.Fault) bool { return !strings.HasPrefix(f.Target, eid) })
}

// Of names the upstream of each line.
func Of(eid string, lines ...sandbox.Fidelity) []sandbox.Fidelity {
	for i := range lines {
		lines[i].Upstream = eid
	}
	return lines
}

// NotSimulated answers what no simulator plays.
func NotSimulated(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "This is not simulated; see GET /sandbox/v1/fidelity.", http.StatusNotImplemented)
}

// Marked says with each answer that it is a sandbox's.
func Marked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Eidgate-Sandbox", "1")
		next.ServeHTTP(w, r)
	})
}
