package oidc

import (
	"net/http"
	"net/url"
	"strings"

	"eidgate/eid"
	"eidgate/relying"
)

// errorsPath is where the addresses of errors lead (§17.5). What is to be read
// there stands with the documentation, in docs/errors-oidc.md.
const errorsPath = "/config/errors/"

func (p *Provider) serveMeaning(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Location", "/docs/errors/"+url.PathEscape(r.PathValue("code")))
	w.WriteHeader(http.StatusSeeOther)
}

// refused shows a person that a request is wrong. Its developer is told why as
// long as the client is not live; what is wrong then stands in the log.
func (p *Provider) refused(w http.ResponseWriter, r *http.Request, c *relying.Client, e wireError) {
	p.show(w, r, c, http.StatusBadRequest, e)
}

func (p *Provider) show(w http.ResponseWriter, r *http.Request, c *relying.Client, status int, e wireError) {
	p.c.Log.InfoContext(r.Context(), "request refused", "code", e.Code, "cause", e.Text)
	if c != nil && c.Environment == eid.Live {
		e.Text = ""
	}
	p.c.Problem(w, r, status, e.Code, e.Text)
}

// nobody is a client_id that no client has.
func nobody(id string) *refusal {
	switch {
	case id == "":
		return refuse("invalid_client", "client_id is missing.")
	case strings.TrimSpace(id) != id:
		return refuse("invalid_client", "client_id has a blank or a line end around it.")
	}
	return refuse("invalid_client", "client_id is not that of a client.")
}

// astray is a redirect_uri that the client does not have. Of a test client it
// is said which one was meant, and what differs; the one that came is not
// repeated.
func astray(c *relying.Client, uri string) *refusal {
	if uri == "" {
		return refuse("invalid_request", "redirect_uri is missing.")
	}
	if c.Environment == eid.Test {
		for _, known := range c.Redirects {
			if what := difference(uri, known); what != "" {
				return refuse("invalid_request", "redirect_uri is not registered. It differs from "+known+" in "+what+".")
			}
		}
	}
	if c.SandboxReturn {
		return refuse("invalid_request", "redirect_uri is not an address of this machine, on localhost or 127.0.0.1, and without a fragment.")
	}
	return refuse("invalid_request", "redirect_uri is not registered for the client exactly as it is sent.")
}

// difference names the one part in which an address is not another one; "" if
// they have less in common.
func difference(uri, known string) string {
	a, err1 := url.Parse(uri)
	b, err2 := url.Parse(known)
	if err1 != nil || err2 != nil || a.User != nil {
		return ""
	}
	var all []string
	for _, part := range []struct{ name, a, b string }{
		{"its scheme", a.Scheme, b.Scheme}, {"its host", a.Hostname(), b.Hostname()}, {"its port", a.Port(), b.Port()},
		{"its path", a.EscapedPath(), b.EscapedPath()}, {"its query", a.RawQuery, b.RawQuery}, {"its fragment", a.EscapedFragment(), b.EscapedFragment()},
	} {
		switch {
		case part.a == part.b:
		case strings.EqualFold(part.a, part.b):
			all = append(all, "the capitals of "+part.name)
		case strings.TrimSuffix(part.a, "/") == strings.TrimSuffix(part.b, "/"):
			all = append(all, "the slash at its end")
		default:
			all = append(all, part.name)
		}
	}
	switch {
	case len(all) == 1:
		return all[0]
	case len(all) == 0: // the same in another writing
		return "how it is written"
	}
	return ""
}

// twice is a parameter that is there more than once. It is named if its name
// looks like one, without a digit.
func twice(name string) *wireError {
	if len(name) > 40 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return bad("invalid_request", "A parameter is sent twice.")
	}
	return bad("invalid_request", "The parameter "+name+" is sent twice.")
}
