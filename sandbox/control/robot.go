package control

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"eidgate/sandbox"
)

type decision struct {
	Outcome  string `json:"outcome"`
	Person   string `json:"person"`
	StartURL string `json:"start_url"`
}

type decided struct {
	State    string  `json:"state"`
	Redirect *string `json:"redirect"`
}

// decide runs a session to its end as a browser and a phone would.
func (x *control) decide(r *http.Request) (any, error) {
	in, err := read[decision](r)
	if err != nil {
		return nil, err
	}
	if x.Sessions == nil {
		return nil, ErrNoSession
	}
	id := r.PathValue("id")
	state, err := x.Sessions.State(r.Context(), id)
	if err != nil {
		return nil, err
	}
	if state != "created" && state != "started" && state != "confirmed" {
		return nil, sandbox.ErrDecided
	}
	if in.StartURL, err = x.Sessions.StartURL(r.Context(), id); err != nil {
		return nil, err
	}
	return x.play(r.Context(), in, id)
}

// decideURL is the same for flows whose session id the caller does not know.
func (x *control) decideURL(r *http.Request) (any, error) {
	in, err := read[decision](r)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(in.StartURL)
	if err != nil || x.Sessions == nil {
		return nil, badInput{errors.New("start_url is not an address")}
	}
	for _, part := range strings.Split(u.Path, "/") {
		if _, err := x.Sessions.State(r.Context(), part); len(part) == 36 && err == nil {
			return x.play(r.Context(), in, part)
		}
	}
	return nil, ErrNoSession
}

// play is a browser of its own: it opens the page, presses the button that
// begins, and looks at the page until it is sent away. What the phone does is
// the decision of tier 10.
func (x *control) play(ctx context.Context, in decision, id string) (any, error) {
	o, err := sandbox.ParseOutcome(in.Outcome)
	if err != nil {
		return nil, badInput{err}
	}
	x.Decisions.Set(id, sandbox.Decision{Outcome: o, Person: in.Person})
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	b := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if _, err := visit(ctx, b, http.MethodGet, in.StartURL, nil); err != nil {
		return nil, err
	}
	if _, err := visit(ctx, b, http.MethodPost, in.StartURL+"start", url.Values{"device": {"other"}}); err != nil {
		return nil, err
	}
	for ctx.Err() == nil {
		state, err := x.Sessions.State(ctx, id)
		if err != nil {
			return nil, err
		}
		if state == "finished" || state == "failed" {
			res, err := visit(ctx, b, http.MethodGet, in.StartURL, nil)
			if err != nil {
				return nil, err
			}
			out := decided{State: state}
			if to := res.Header.Get("Location"); res.StatusCode == http.StatusSeeOther && to != "" {
				out.Redirect = &to
			}
			return out, nil
		}
		if o == sandbox.Expire {
			x.Clock.Advance(30 * time.Second)
		}
		x.Sessions.Nudge(ctx, id)
		changed := x.BankIDSE.Changed()
		select {
		case <-changed:
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil, errors.New("the login did not end within 20 s")
}

func visit(ctx context.Context, b *http.Client, method, address string, form url.Values) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, badInput{err}
	}
	req.Header.Set("User-Agent", "eidgate sandbox robot (X11)")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := b.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	return res, err
}
