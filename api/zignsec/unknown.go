package zignsec

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// keyForm is what may be meant as a key, wherever it stands.
var keyForm = regexp.MustCompile(`(?i)[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}`)

// maxLooks bounds how many texts of one request are looked up.
const maxLooks = 20

// unknown says to the developer of a sandbox's relying party what is wrong with
// a request whose key is not known (§2.1): a known one stands elsewhere, or in
// another form, or it is none. A key is named by its ends, 5a4d…0002.
func (a *API) unknown(r *http.Request, token string) string {
	type place struct{ text, wrong string }
	places := []place{{token, "The Authorization header must have the key alone and as it was issued, with its hyphens and nothing around it."}}
	if user, password, ok := r.BasicAuth(); ok {
		places = append(places, place{user + " " + password, "The key is sent as Basic authentication. Send it alone, as Authorization: KEY."})
	}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if name != "Authorization" {
			places = append(places, place{strings.Join(r.Header[name], " "), fmt.Sprintf("The key is in the header %.40s. Send it as Authorization: KEY.", name)})
		}
	}
	places = append(places, place{r.URL.RawQuery, "The key is in the address, where logs may keep it. Send it in a header, as Authorization: KEY."})
	looks := 0
	for _, p := range places {
		for _, text := range keyForm.FindAllString(p.text, -1) {
			if looks++; looks <= maxLooks && a.known(r.Context(), text) {
				return p.wrong
			}
		}
	}
	return a.notOurs(token)
}

// known says whether a text is a key, without regard to its hyphens.
func (a *API) known(ctx context.Context, text string) bool {
	text = strings.ReplaceAll(text, "-", "")
	_, err := a.c.Accounts.Caller(ctx, strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-"))
	return err == nil
}

// notOurs says why a text is no key of this sandbox.
func (a *API) notOurs(token string) string {
	const start = 9 // characters that all keys of the sandbox begin with
	switch {
	case token == "":
		return "There is no Authorization header. Send the key in it, as Authorization: KEY."
	case strings.HasPrefix(token, "whsec_"):
		return "The Authorization header has a webhook secret. Send the account's key."
	case strings.HasPrefix(token, "sandbox-"):
		return "The Authorization header has the id or the secret of an OpenID client. Send the account's key."
	case len(token) != len(a.c.DemoKey):
		return fmt.Sprintf("The Authorization header has %d characters, and a key has %d.", len(token), len(a.c.DemoKey))
	case keyForm.FindString(token) != token:
		return "The Authorization header has as many characters as a key, and is none: a key has hexadecimal digits and hyphens."
	}
	name := fmt.Sprintf("The key %s…%s", token[:4], token[len(token)-4:])
	var differs []string
	for i := range len(token) {
		if !strings.EqualFold(token[i:i+1], a.c.DemoKey[i:i+1]) {
			differs = append(differs, fmt.Sprint(i+1))
		}
	}
	switch {
	case len(differs) <= 3:
		return fmt.Sprintf("%s is not known. The demo shop's differs from it at character %s.", name, strings.Join(differs, ", "))
	case strings.EqualFold(token[:start], a.c.DemoKey[:start]):
		return name + " is not known. Keys of POST /sandbox/v1/accounts go with their account, and with a sandbox that keeps no data."
	}
	return fmt.Sprintf("%s is of another server. Keys of a sandbox begin with %s.", name, a.c.DemoKey[:start])
}
