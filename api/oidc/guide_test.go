package oidc

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"eidgate/eid"
	"eidgate/internal/golden"
	"eidgate/relying"
)

// guide is what a developer should know of each code: where it is told, what it
// means, and what to do. docs/errors-oidc.md is written from it, and each code
// has a page at /docs/errors/{code}.
var guide = map[string]struct{ where, cause, fix string }{
	"invalid_request": {"On a page, at `redirect_uri`, and by the token endpoint and its neighbours", "A parameter is missing, sent twice, or not of its form, or the client has to send a request in another way.",
		"Read the description: it names the parameter. On a page it is `redirect_uri` in most cases, which must be registered byte for byte: a slash at the end, `http` for `https`, another port or `localhost` for `127.0.0.1` are other addresses. Of a test client the page says which registered one was nearly meant."},
	"invalid_client": {"On a page, and by the token endpoint and its neighbours, there with status 401 (always 400 for clients of the profile `signicat`)", "`client_id` is not that of a client, or the client has not proven who it is in the way that it is registered with.",
		"Look for a blank or a line end around the id or the secret, the secret of another client, a secret that has ended, and Basic where the client is registered with `client_secret_post`, or the other way round. In Basic both halves are form-encoded first. Do not send two proofs in one request."},
	"invalid_request_object": {"On a page, and when pushing", "The request object cannot be used: its signature, key, algorithm, times, `iss`, `aud` or `client_id` is wrong, it was used before, or it is no JWT. Which one it is, is not told.",
		"Sign it with a key that is registered, `iss` and `client_id` being the client's id and `aud` the issuer. Give each a new `jti`, and look at the clock."},
	"invalid_request_uri": {"On a page, and at `redirect_uri`", "The pushed request was used, has expired (after five minutes, of FAPI clients after 90 s) or is another client's.",
		"Push a request for each login, right before the browser is sent off."},
	"request_uri_not_supported": {"On a page, and at `redirect_uri`", "`request_uri` is an address. This provider fetches none.", "Push the request (`pushed_authorization_request_endpoint`), or send the object itself as `request`."},
	"unsupported_response_type": {"At `redirect_uri`", "Only the code flow is served.", "Send `response_type=code`."},
	"invalid_scope":             {"At `redirect_uri`, and by the token endpoint", "`openid` is missing, two scopes exclude each other, or a scope is not known or not the client's. Clients of the profile `signicat` are not told of unknown ones: these have no effect.", "See the [table of scopes](apis/signicat.md#21-which-scope-releases-what) and the client's settings."},
	"login_required":            {"At `redirect_uri`", "With `prompt=none`: nobody is logged in in this browser in the way that is asked for. Otherwise somebody else has logged in than the request demands (`id_token_hint`, or `sub` in `claims`).", "Ask again without `prompt=none`. If it was another person, let them start anew with `prompt=login`."},
	"access_denied":             {"At `redirect_uri`", "Nobody was logged in: the person cancelled, the eID said no, or time ran out.", "Nothing is broken. Offer to start again, or another way."},
	"temporarily_unavailable":   {"At `redirect_uri`; on a page, and by endpoints for clients, with status 429; by the token, UserInfo and revocation endpoints with 503", "At `redirect_uri`: the eID does not answer, or none is configured that the client may use. With 429: too many have come, and the description says of what. With 503: tokens, or what UserInfo tells, could not be made, since the client's keys are out of reach for example, and nothing is used up; or whether the token has ended is not known.", "With 429 or 503 wait as long as `Retry-After` says. If authentication has failed too often, find the one of your programs that sends an old secret: it spoils the attempts of others at its address. At `redirect_uri` offer to start again a little later, or another eID. If it lasts, the operator looks at the client's `eids` and at the metrics of the eID."},
	"server_error":              {"On a page, at `redirect_uri`, and by every endpoint with status 500", "An error of this server or of the eID. Nobody was logged in.", "Let the person start again. If it lasts, give the operator the trace id of the page, or of the header `X-Trace-Id`."},
	"invalid_grant": {"By the token endpoint", "The code or refresh token was used before, has expired (a code after 60 s), is another client's, or comes without what it was begun with: the same `redirect_uri`, and the `code_verifier` of its `code_challenge`. Which one it is, is not told.",
		"Redeem a code once, at once, from one place: two processes that share a callback, or a page that is loaded again, redeem it twice, and that ends the tokens of the first time as well. Keep the verifier with the state."},
	"unsupported_grant_type": {"By the token endpoint", "Only `authorization_code`, `refresh_token` and `client_credentials` are served.", "Send one of them."},
	"unauthorized_client":    {"By the token endpoint", "The client may not use this grant type.", "`client_credentials` is for clients that can keep a secret."},
	"invalid_dpop_proof":     {"By the token, PAR and UserInfo endpoints", "The DPoP proof is not one for this request (`htm`, `htu`, `ath`), is signed with a key that does not fit, is older than a minute or two, or was used before.", "Make a proof for each request. Look at the clock, and at a proxy that changes the address."},
	"invalid_token":          {"By UserInfo, in `WWW-Authenticate`, with status 401", "The access token is not known, has expired (after ten minutes), was revoked, or its login has been erased. Or it is bound to a key and comes as `Bearer`.", "Ask UserInfo right after the code was redeemed."},
	"insufficient_scope":     {"By UserInfo, in `WWW-Authenticate`, with status 403", "The access token is not one of a login with `openid`: `client_credentials` are about nobody.", "Use the token that came with the ID token."},
	"IDP-3200":               {"At `redirect_uri`, of clients with `errors: signicat`", "The person cancelled. Other clients hear `access_denied`.", "Offer to start again, or another way."},
	"IDP-3300":               {"At `redirect_uri`, of clients with `errors: signicat`", "The eID could not log the person in. The code is ours.", "Offer to start again, or another way."},
	"IDP-3400":               {"At `redirect_uri`, of clients with `errors: signicat`", "Time ran out. The code is ours.", "Offer to start again."},
	"IDP-3500":               {"At `redirect_uri`, of clients with `errors: signicat`", "The eID does not answer. The code is ours.", "Offer to start again a little later, or another way."},
}

var inHeader = regexp.MustCompile(`error="([a-z_]+)"`)

// written is every code that the sources of this package tell, with the texts
// that come along.
func written(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	list, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	add := func(exprs []ast.Expr) {
		if len(exprs) == 0 || text(exprs[0]) == "" {
			return
		}
		code := text(exprs[0])
		out[code] = append(out[code], nil...) // it may come without a text
		for _, e := range exprs[1:] {
			out[code] = append(out[code], text(e))
		}
	}
	for _, f := range list {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Name.Name == "ending" {
					ast.Inspect(n, func(n ast.Node) bool {
						if r, ok := n.(*ast.ReturnStmt); ok {
							add(r.Results)
						}
						return true
					})
				}
			case *ast.CallExpr:
				switch name := called(n); name {
				case "bad", "refuse", "failure", "challenge":
					add(n.Args)
				}
			case *ast.BasicLit:
				if m := inHeader.FindStringSubmatch(n.Value); m != nil {
					out[m[1]] = append(out[m[1]], nil...)
				}
			}
			return true
		})
	}
	for code := range out {
		slices.Sort(out[code])
		out[code] = slices.Compact(out[code])
	}
	return out
}

func called(c *ast.CallExpr) string {
	id, ok := c.Fun.(*ast.Ident)
	if !ok {
		return ""
	}
	return id.Name
}

// text is what an expression says, with … for what is not known before; "" for
// what is no text at all.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil {
			return s
		}
	case *ast.BinaryExpr:
		return cmp.Or(text(e.X), "…") + cmp.Or(text(e.Y), "…")
	}
	return ""
}

// No code leaves this API that a developer cannot look up, and none is
// explained that does not exist.
func TestGuideIsComplete(t *testing.T) {
	t.Parallel()
	all := written(t)
	for code := range all {
		if g := guide[code]; g.where == "" || g.cause == "" || g.fix == "" {
			t.Errorf("%s is not explained", code)
		}
	}
	for code := range guide {
		if _, ok := all[code]; !ok {
			t.Errorf("%s is explained and used nowhere", code)
		}
	}
	if len(all["invalid_request"]) < 20 || !slices.Contains(all["invalid_request"], "redirect_uri is not registered. It differs from … in ….") {
		t.Errorf("texts were not found: %q", all["invalid_request"])
	}
}

func TestGuideIsWrittenDown(t *testing.T) {
	t.Parallel()
	all := written(t)
	var b strings.Builder
	b.WriteString(`# Error codes of OpenID Connect

What the [OpenID provider](apis/oidc.md) answers in ` + "`error`" + `, in alphabetical order, with what it says in ` + "`error_description`" + `. A request whose
client or ` + "`redirect_uri`" + ` cannot be trusted is answered on a page, to the person; everything else that is wrong with it goes to ` + "`redirect_uri`" + `.
The [ZignSec-compatible API](errors.md) has codes of its own.
`)
	lower := func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) }
	for _, code := range slices.SortedFunc(maps.Keys(guide), lower) {
		g := guide[code]
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n%s\n\n**What to do.** %s\n", code, g.where, g.cause, g.fix)
		rows := ""
		for _, r := range slices.Sorted(maps.Keys(eid.Reasons)) {
			for _, c := range []*relying.Client{{}, {Errors: relying.SignicatErrors}} {
				if got, text := ending(c, r); got == code {
					rows += fmt.Sprintf("| `%s` | %s | %s | %s |\n", r, text, eid.Reasons[r].Explain, eid.Reasons[r].Fix)
					break
				}
			}
		}
		if rows != "" {
			b.WriteString("\n| Reason of a login's end | Description | What happened | What to do |\n|---|---|---|---|\n" + rows)
		}
		said := slices.DeleteFunc(slices.Clone(all[code]), func(text string) bool { return strings.Contains(rows, "| "+text+" |") })
		if len(said) > 0 {
			b.WriteString("\nDescriptions:\n\n")
			for _, text := range said {
				fmt.Fprintf(&b, "* %s\n", text)
			}
		}
	}
	golden.File(t, "../../docs/errors-oidc.md", []byte(b.String()))
}
