// Package demorp is a small shop that relies on eidgate. It is ordinary code
// of a relying party: it knows an address, a key and a webhook secret, and
// uses nothing of eidgate's own packages.
package demorp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Shop is the relying party. All fields but the unexported are required.
type Shop struct {
	Broker string // address of eidgate, no slash at the end
	Key    string
	Secret string // "whsec_…"
	Self   string // address of the shop, no slash at the end

	mu    sync.Mutex
	hooks []string // the latest webhooks, as lines
}

// Handler answers the shop's pages.
func (s *Shop) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("GET /done", s.done)
	mux.HandleFunc("POST /hook", s.hook)
	return http.NewCrossOriginProtection().Handler(mux)
}

var page = template.Must(template.New("").Parse(`<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Demo shop</title></head>
<body><h1>Demo shop</h1><p>A simulation: nobody is identified.</p>
{{if .Result}}<h2>{{.Title}}</h2><p>What our server read with GET /v2/eid/{id}:</p><pre>{{.Result}}</pre>{{end}}
<form method="post" action="/login"><button name="method" value="sbid-another">Log in with Swedish BankID, another device</button>
<button name="method" value="sbid">Log in with Swedish BankID, this device</button> <button name="method" value="sbid-sign">Sign an agreement</button></form>
<h2>Webhooks</h2><ul>{{range .Hooks}}<li><code>{{.}}</code></li>{{else}}<li>none yet</li>{{end}}</ul></body></html>`))

func (s *Shop) show(w http.ResponseWriter, title, result string) {
	s.mu.Lock()
	hooks := append([]string(nil), s.hooks...)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; form-action 'self' "+s.Broker+"; base-uri 'none'")
	_ = page.Execute(w, map[string]any{"Title": title, "Result": result, "Hooks": hooks}) // the browser has gone
}

func (s *Shop) home(w http.ResponseWriter, _ *http.Request) { s.show(w, "", "") }

// call asks eidgate.
func (s *Shop) call(r *http.Request, method, path, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(r.Context(), method, s.Broker+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", s.Key)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(io.LimitReader(res.Body, 1<<20))
}

// login sets a session up and sends the browser there.
func (s *Shop) login(w http.ResponseWriter, r *http.Request) {
	method := r.FormValue("method")
	form := url.Values{"target": {s.Self + "/done"}, "webhook": {s.Self + "/hook"}}
	if method == "sbid-sign" {
		form.Set("personalnumber", "199001012385")
		form.Set("userVisibleData", base64.StdEncoding.EncodeToString([]byte("I buy one lamp for 100 kr.")))
	}
	raw, err := s.call(r, http.MethodPost, "/v2/eid/"+url.PathEscape(method), form.Encode())
	var out struct {
		Errors      []struct{ Code, Description string }
		RedirectURL string `json:"redirect_url"`
	}
	if err != nil || json.Unmarshal(raw, &out) != nil || len(out.Errors) > 0 || out.RedirectURL == "" {
		s.show(w, "The login did not start", string(raw))
		return
	}
	http.Redirect(w, r, out.RedirectURL, http.StatusSeeOther)
}

// done reads the result on our own server: the redirect alone proves nothing.
// Without a relaystate of ours the one that comes back is the session's id.
func (s *Shop) done(w http.ResponseWriter, r *http.Request) {
	raw, err := s.call(r, http.MethodGet, "/v2/eid/"+url.PathEscape(r.URL.Query().Get("relaystate")), "")
	if err != nil {
		s.show(w, "The result could not be read", err.Error())
		return
	}
	var v any
	if json.Unmarshal(raw, &v) == nil {
		if nice, err := json.MarshalIndent(v, "", "  "); err == nil {
			raw = nice
		}
	}
	s.show(w, "Welcome back", string(raw))
}

// hook verifies a webhook before it believes it.
func (s *Shop) hook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		http.Error(w, "cannot be read", http.StatusBadRequest)
		return
	}
	h := r.Header
	verdict := "signature valid"
	if !s.valid(h.Get("Webhook-Id"), h.Get("Webhook-Timestamp"), h.Get("Webhook-Signature"), body) {
		verdict = "SIGNATURE NOT VALID"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, fmt.Sprintf("%s %s, %d bytes, %s", time.Now().Format("15:04:05"), h.Get("Webhook-Id"), len(body), verdict))
	s.hooks = s.hooks[max(0, len(s.hooks)-10):]
	w.WriteHeader(http.StatusNoContent)
}

func (s *Shop) valid(id, timestamp, signatures string, body []byte) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Secret, "whsec_"))
	if err != nil {
		return false
	}
	m := hmac.New(sha256.New, key)
	m.Write([]byte(id + "." + timestamp + "."))
	m.Write(body)
	want := "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))
	for _, got := range strings.Fields(signatures) {
		if hmac.Equal([]byte(got), []byte(want)) {
			return true
		}
	}
	return false
}
