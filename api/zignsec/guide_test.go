package zignsec

import (
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
)

// guide is what a developer should know of each code: what it means, and what
// to do. docs/errors.md is written from it, and each code has a page at
// /docs/errors/{code}. Status is that of a refused request, where it is not or
// not only 400.
var guide = map[string]struct{ status, cause, fix string }{
	"INVALID_APPID": {"401, 429", "The key in the Authorization header is not known here, or was withdrawn. Often the header has a blank or a line end, the key of another server, or a test key where a live one belongs.",
		"Send the key as it was issued: `Authorization: 5a4db0c5-…`, without a scheme word. The sandbox's key works only in the sandbox. A sandbox says in `description` what is wrong: a key that stands in another header or in the address, has something around it, or differs in a character. After many unknown keys from one address the answer has status 429 for a while; a known key is accepted all the time."},
	"INVALID_IP": {"403, 400", "The account names the addresses that may call, and this call came from another one. Or a headless call has an `endUserIp` that is no address.",
		"Call from a server that is on the list, or let the operator add its address (`allowed_ips`). Behind a proxy, see that `trusted_proxies` is right. As `endUserIp` send the address of the person's device."},
	"SESSION_NOT_FOUND": {"404", "There is no session of that id for this key: the id is wrong, it is another account's, it was made with the key of the other environment, or its data were erased after the time that the account keeps them.",
		"Read results soon after the end, and keep what you need. Use the key that made the session, or another one of the same account and environment."},
	"INVALID_REQUEST": {"400, 404, 405, 413, 429", "The request cannot be understood or cannot be done, or a login ended in a way that has no code of its own. `description` says which.",
		"Read `description`: it names the parameter and what it may be. Answer 405 and 404 name the address to use; after 413 send less; after 429 wait as long as `Retry-After` says, and ask for each session no more than every two seconds, or use a webhook."},
	"MISSING_CONFIG": {"400, 403", "The method, the country or the `configid` is known, but this account has no agreement for it, or (403) may not use its eID.",
		"Use a method that the account has (`sbid`, `sbid-another`, `sbid-sign`, `idin`, `idin_age`, or a country such as `se`), leave `configid` out, or ask the operator to configure the eID."},
	"INVALID_COUNTRYCODE":    {"", "The two letters after `/v2/eid/` are no country.", "Use a code of ISO 3166-1, such as `se`."},
	"INVALID_TARGET":         {"", "`target` is no address that a browser may be sent to: it is not absolute, not http or https, has a user name in it, or its host is not on the account's list.", "Send an absolute address and encode it in a form. For live keys it is https, and the operator has put its host on the list (`hosts`)."},
	"INVALID_TARGETERROR":    {"", "The same for `targetError`.", "As for `target`; leave it out, and failures lead to `target` as well."},
	"INVALID_WEBHOOK":        {"", "The webhook's address cannot be used: not absolute, not https for live keys, with a fragment, or inside a network that this server must not call.", "Send an address that this server can reach from where it runs. In the sandbox addresses of this machine are fine."},
	"INVALID_PERSONALNUMBER": {"", "The number is missing where one must be given (a signature names who signs), has a shape or a date that cannot be, or another person than the one of the number was identified. Or a number came with a method whose eID tells none (iDIN): nobody could be held to it.", "Send twelve digits, `YYYYMMDDNNNN`; a hyphen does no harm. With `idin`, `idin_age` and `nl` send none. A wrong check digit is no reason to refuse. After a login: the wrong person has acted; let the right one start."},
	"INVALID_PARAMETERS":     {"", "The eID does not take what the request asks for, or a headless call lacks its `orderRef`.", "Change the request; `description` says what."},
	"Internal Exception":     {"500", "An error of this server.", "Try again later. The operator finds the log line by the answer's `X-Trace-Id`."},
	"INTERNAL_ERROR":         {"500, 502", "An error of this server or of the eID while a login ran. Nobody was identified.", "Let the person start again. If it lasts, give the operator the session's id."},
	"USER_CANCEL":            {"", "The person stopped, on our page or in the app, or said that they are not in a call with you.", "Nothing is broken. Offer to start again, or another way."},
	"EXPIRED_TRANSACTION":    {"", "The person did not finish in time, or never came back from the eID.", "Offer to start again."},
	"START_FAILED":           {"", "Nobody opened the app in time.", "Offer to start again, and the way with another device (`sbid-another`)."},
	"ALREADY_IN_PROGRESS":    {"", "Another order for the same person was open, and the eID closed both. It may be somebody else who tries.", "Let the person start again; do not start two sessions for one person."},
	"CANCELLED":              {"", "A newer order for the same person replaced this one.", "Use the newer session."},
	"CERTIFICATE_ERR":        {"", "The person's eID is revoked or blocked, or the security code was wrong too often.", "Offer another way. The person gets a new eID from the issuer, with BankID their bank."},
	"CLIENT_ERR":             {"", "The person's app is too old for what was asked.", "The person updates the app and starts again."},
	"REQ_BLOCKED":            {"", "The eID stopped the login because of its risk.", "Do not repeat it. Reach the person in another way."},
	"RETRY":                  {"502, 503", "The eID did not answer, or not in time; with 503 it was not asked, since too many calls wait.", "After 503 wait as long as `Retry-After` says. Offer to start again a little later, or another way."},
	"ACCESS_DENIED_RP":       {"502", "The eID refused this server: its certificate or agreement is not in order.", "Only the operator can mend it: check the certificate's end and the agreement, and see the log line of the session."},
	"ALREADY_COLLECTED":      {"", "The result of a headless order was read before. It is given once.", "Keep what the first `collect` answered that was complete, or read the session with `GET /v2/eid/{id}` until its data are erased."},
}

// words in capitals of this API that are no error codes.
var states = []string{"PENDING", "FINISHED", "ERROR", "OUTSTANDING_TRANSACTION", "NO_CLIENT", "STARTED", "USER_SIGN", "COMPLETE", "TRANS", "NOT_SET"}

var codeForm = regexp.MustCompile(`^[A-Z][A-Z]+(_[A-Z]+)*$`)

// written are the words in capitals that the sources of this package hold.
func written(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{"Internal Exception": true}
	list, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
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
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if s, err := strconv.Unquote(l.Value); err == nil && len(s) > 4 && codeForm.MatchString(s) && !slices.Contains(states, s) {
					out[s] = true
				}
			}
			return true
		})
	}
	return out
}

// A refusal that stands in no parameter's words says what to do as well.
func TestRefusalsSayWhatToDo(t *testing.T) {
	t.Parallel()
	act := regexp.MustCompile(`(^|[.:;,] )(Add|Ask|Leave|Read|Send|Set|Use|Wait|the Allow header names it)\b`)
	for _, a := range answers {
		if !act.MatchString(a.text) {
			t.Errorf("%s: %s", a.code, a.text)
		}
	}
}

// No code leaves this API that a developer cannot look up, and none is
// explained that does not exist.
func TestGuideIsComplete(t *testing.T) {
	t.Parallel()
	all := written(t)
	for code := range all {
		if g := guide[code]; g.cause == "" || g.fix == "" {
			t.Errorf("%s is not explained", code)
		}
	}
	for code := range guide {
		if !all[code] {
			t.Errorf("%s is explained and used nowhere", code)
		}
	}
	for _, a := range answers {
		if g, ok := guide[a.code]; !ok || a.status != 400 && !strings.Contains(g.status, strconv.Itoa(a.status)) {
			t.Errorf("%d %s of the table of answers is not explained", a.status, a.code)
		}
	}
	for r, f := range failures {
		if _, ok := guide[f.Code]; !ok {
			t.Errorf("%s of reason %s is not explained", f.Code, r)
		}
	}
}

func TestGuideIsWrittenDown(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`# Error codes

What the [ZignSec-compatible API](apis/zignsec.md) answers in ` + "`errors`" + `, in alphabetical order. A request that is refused has status 400
unless another one stands here; a login that has ended badly is read with status 200, and its reason is what logs, metrics and
` + "`eidgate session show`" + ` call it. The answer's ` + "`X-Trace-Id`" + ` leads an operator to the log.
`)
	lower := func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) }
	for _, code := range slices.SortedFunc(maps.Keys(guide), lower) {
		fmt.Fprintf(&b, "\n## %s\n\n", code)
		if s := guide[code].status; s != "" {
			fmt.Fprintf(&b, "Status %s.\n\n", s)
		}
		fmt.Fprintf(&b, "%s\n\n**What to do.** %s\n", guide[code].cause, guide[code].fix)
		rows := ""
		for _, r := range slices.Sorted(maps.Keys(eid.Reasons)) {
			if failures[r].Code == code {
				rows += fmt.Sprintf("| `%s` | %s | %s |\n", r, eid.Reasons[r].Explain, eid.Reasons[r].Fix)
			}
		}
		if rows != "" {
			b.WriteString("\n| Reason of a login's end | What happened | What to do |\n|---|---|---|\n" + rows)
		}
	}
	golden.File(t, "../../docs/errors.md", []byte(b.String()))
}
