package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eidgate/notify"
)

// A Party is a relying party and the browsers of its visitors. Requests go to
// whichever node Route names at the moment.
type Party struct {
	Requests atomic.Int64 // answered by the nodes

	http  *http.Client
	hook  *httptest.Server
	route atomic.Pointer[[]string]
	next  atomic.Uint64

	mu    sync.Mutex
	hooks map[string]int // session → valid webhooks
	bad   int
}

// NewParty starts the relying party's server for webhooks.
func NewParty(t testing.TB) *Party {
	t.Helper()
	p := &Party{hooks: map[string]int{}}
	dial := &net.Dialer{Timeout: 2 * time.Second}
	p.http = &http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{MaxIdleConnsPerHost: 1000, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			at := *p.route.Load()
			if len(at) == 0 {
				return nil, errors.New("no node")
			}
			return dial.DialContext(ctx, network, at[p.next.Add(1)%uint64(len(at))])
		}}}
	p.Route()
	p.hook = httptest.NewServer(http.HandlerFunc(p.webhook))
	t.Cleanup(p.hook.Close)
	t.Cleanup(p.http.CloseIdleConnections)
	return p
}

// Route sends new connections to these nodes in turn.
func (p *Party) Route(nodes ...*Node) {
	var at []string
	for _, n := range nodes {
		at = append(at, n.Addr)
	}
	p.route.Store(&at)
	p.http.CloseIdleConnections()
}

func (p *Party) webhook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil { // the node was killed while it sent: it is to send it again
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var got struct{ ID string }
	if err = json.Unmarshal(body, &got); err == nil {
		err = notify.Verify(secret, r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp"), r.Header.Get("Webhook-Signature"), body, time.Now())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.bad++
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.hooks[got.ID]++
	w.WriteHeader(http.StatusNoContent)
}

// Hooks is how many valid webhooks came for a session, and how many bad ones
// came in all.
func (p *Party) Hooks(session string) (valid, bad int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hooks[session], p.bad
}

// A Visit is one person's attempt, with the cookie of a browser of its own.
type Visit struct {
	ID     string
	Page   string
	cookie string
	poll   string // where the page asks how it stands
	p      *Party

	AtRetry bool   // the page offers another try
	Failure string // description of the error that Result has read
}

func (p *Party) do(ctx context.Context, method, address string, form url.Values, header ...string) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, nil, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	res, err := p.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	p.Requests.Add(1)
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res, body, err
}

// Setup makes a session for BankID.
func (p *Party) Setup(ctx context.Context) (*Visit, error) { return p.SetupFor(ctx, "sbid-another") }

// SetupFor makes a session for any method.
func (p *Party) SetupFor(ctx context.Context, selector string) (*Visit, error) {
	form := url.Values{"target": {"http://localhost/done"}, "relaystate": {"order-4711"}, "webhook": {p.hook.URL}}
	res, body, err := p.do(ctx, http.MethodPost, Public+"/v2/eid/"+selector, form, "Authorization", Key)
	if err != nil {
		return nil, err
	}
	var out struct {
		ID          string
		RedirectURL string `json:"redirect_url"`
	}
	if err := json.Unmarshal(body, &out); err != nil || res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("setup: %s %s", res.Status, body)
	}
	return &Visit{ID: out.ID, Page: out.RedirectURL, p: p}, nil
}

const agent = "Mozilla/5.0 (X11; Linux x86_64) load"

func (v *Visit) page(ctx context.Context, method, rest string, form url.Values) (*http.Response, error) {
	res, body, err := v.p.do(ctx, method, v.Page+rest, form, "Cookie", v.cookie, "User-Agent", agent)
	if err != nil {
		return nil, err
	}
	if c := res.Cookies(); len(c) > 0 {
		v.cookie = c[0].Name + "=" + c[0].Value
	}
	if res.StatusCode >= 500 {
		return nil, fmt.Errorf("page %s: %s %s", rest, res.Status, body)
	}
	v.AtRetry = strings.Contains(string(body), `action="start`) && v.cookie != "" && method == http.MethodGet && rest == ""
	if _, after, ok := strings.Cut(string(body), `data-poll="`); ok {
		v.poll, _, _ = strings.Cut(html.UnescapeString(after), `"`)
	}
	return res, nil
}

// Begin opens the page, presses its button and sees the code.
func (v *Visit) Begin(ctx context.Context) error {
	if _, err := v.page(ctx, http.MethodGet, "", nil); err != nil {
		return err
	}
	if _, err := v.page(ctx, http.MethodPost, "start", url.Values{"device": {"other"}}); err != nil {
		return err
	}
	_, err := v.page(ctx, http.MethodGet, "", nil)
	return err
}

// Poll asks once how it stands, as the page's script does, and loads the page
// again where it is told to. Where that sends the browser away, the login has
// ended.
func (v *Visit) Poll(ctx context.Context) (to string, err error) {
	res, err := v.page(ctx, http.MethodGet, v.poll, nil)
	if err == nil && res.StatusCode == http.StatusNoContent {
		res, err = v.page(ctx, http.MethodGet, "", nil)
	}
	if err != nil {
		return "", err
	}
	return res.Header.Get("Location"), nil
}

// Result reads the result as the party's server: a state word and the number
// of who was identified.
func (v *Visit) Result(ctx context.Context) (state, number string, err error) {
	res, body, err := v.p.do(ctx, http.MethodGet, Public+"/v2/eid/"+v.ID, nil, "Authorization", Key)
	if err != nil {
		return "", "", err
	}
	var out struct {
		Identity *struct{ PersonalNumber string }
		Result   struct{ Identity struct{ State string } }
		Errors   []struct{ Code, Description string }
	}
	if err := json.Unmarshal(body, &out); err != nil || res.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("result: %s %.200s", res.Status, body)
	}
	if len(out.Errors) > 0 {
		v.Failure = out.Errors[0].Description
	}
	if out.Identity != nil {
		number = out.Identity.PersonalNumber
	}
	return out.Result.Identity.State, number, nil
}

// Login runs a whole login as a browser with scripts would.
func (p *Party) Login(ctx context.Context) (*Visit, error) {
	v, err := p.Setup(ctx)
	if err != nil {
		return nil, err
	}
	if err := v.Begin(ctx); err != nil {
		return v, err
	}
	for to := ""; to == ""; {
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return v, ctx.Err()
		}
		if to, err = v.Poll(ctx); err != nil {
			return v, err
		}
		if v.AtRetry {
			return v, errors.New("the page offers another try")
		}
		if to != "" && !strings.HasPrefix(to, "http://localhost/done?") {
			return v, fmt.Errorf("the browser was sent to %q", to)
		}
	}
	state, number, err := v.Result(ctx)
	if err == nil && (state != "FINISHED" || number != Person) {
		err = fmt.Errorf("result %s", state)
	}
	return v, err
}

var linked = regexp.MustCompile(`(?:href|src)="(/static/[^"]+)"`)

// Weigh says how many bytes a browser that takes gzip loads for the page, with
// what it links, and for one more frame of its code.
func (v *Visit) Weigh(ctx context.Context) (page, requests, frame int, err error) {
	get := func(address string) (body []byte, size int, err error) {
		res, body, err := v.p.do(ctx, http.MethodGet, address, nil, "Cookie", v.cookie, "User-Agent", agent, "Accept-Encoding", "gzip")
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", address, res.Status)
		}
		return body, len(body), err
	}
	text, page, err := get(v.Page)
	if err != nil {
		return 0, 0, 0, err
	}
	requests = 1
	for _, m := range linked.FindAllSubmatch(text, -1) {
		_, size, err := get(Public + string(m[1]))
		if err != nil {
			return 0, 0, 0, err
		}
		page += size
		requests++
	}
	_, frame, err = get(v.Page + "qr.svg")
	return page, requests, frame, err
}
