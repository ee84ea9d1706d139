package idin

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"image/png"
	"io"
	"net/http"
	"net/url"
	"time"

	"eidgate/connector"
	"eidgate/eid"
	"eidgate/protocol/idinqr"
)

const (
	codeLife  = 15 * time.Minute // as long as the scheme lets a code of few scans live
	codeSize  = 512              // pixels asked for
	maxImage  = 64 << 10         // bytes of a picture
	maxPixels = 2048
)

func codeRef(id string) connector.Ref { return connector.Ref("qr:" + id) }

// locateCode finds the code that a call of the back-end is about.
func locateCode(in connector.Inbound) (connector.Ref, error) {
	call, err := idinqr.Peek(in.Body)
	if err != nil {
		return "", err
	}
	return codeRef(call.ID), nil
}

// show has a code made for the screen of a point of service. old is what
// stays if none can be had.
func (c *Connector) show(ctx context.Context, cl *client, s *state, old []byte) (connector.Result, error) {
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	start := time.Now()
	g, err := cl.qr.Generate(call, idinqr.Code{SubID: cl.set.SubID, Service: uint16(s.Service), UseCase: idinqr.Few, Lifetime: codeLife, Size: codeSize})
	c.watch("generate", start, err)
	var image string
	if err == nil {
		image, err = cl.picture(call, g.Image)
	}
	if err != nil {
		return connector.Result{State: old, Step: connector.Fail{Reason: eid.Unavailable, Code: "no_code", Retry: true}}, nil
	}
	s.Phase, s.Code = counter, &code{ID: g.ID, Image: image, Expires: g.Expires}
	return connector.Result{Step: s.step(), State: s.bytes(), Refs: []connector.Ref{codeRef(g.ID)}, Due: g.Expires}, nil
}

// picture fetches the image of a code, so that the person's browser calls
// nobody but us, and no other host stands in our pages' policy.
func (cl *client) picture(ctx context.Context, address string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", errors.New("the image has no address")
	}
	res, err := cl.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxImage+1))
	if err != nil || res.StatusCode != http.StatusOK || len(raw) > maxImage {
		return "", errors.New("the image does not come")
	}
	if about, err := png.DecodeConfig(bytes.NewReader(raw)); err != nil || about.Width > maxPixels || about.Height > maxPixels {
		return "", errors.New("the image is no PNG of a sensible size")
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(raw), nil
}

// wait is the counter's page.
func (k *code) wait(over bool) connector.Wait {
	w := connector.Wait{Hint: "idin.qr.wait", Image: k.Image, Until: k.Expires, Choose: []connector.Option{{Value: "banks", Label: "idin.qr.banks"}}}
	if over {
		w.Hint, w.Image, w.Rests = "idin.qr.over", "", true
	}
	return w
}

// called is the back-end's call after a scan: it asks us for a transaction
// with the bank that was chosen on the phone (docs/protocols/idinqr.md §5). The
// first one binds the code.
func (c *Connector) called(ctx context.Context, cl *client, r *connector.Request, s *state, in connector.Inbound) (connector.Result, error) {
	now := c.now()
	res := c.stay(cl, r, s)
	if cl.qr == nil || s.Code == nil {
		res.Reply = reply(http.StatusNotFound, idinqr.Refusal("no such code"))
		return res, nil
	}
	call, err := idinqr.ReadCall(in.Body, in.Header.Get(idinqr.HashHeader), cl.key)
	switch {
	case errors.Is(err, idinqr.ErrHash):
		res.Reply, res.Notes = reply(http.StatusUnauthorized, idinqr.Refusal("the hash does not fit")), []string{"a call with a wrong hash"}
		return res, nil
	case err != nil:
		res.Reply = reply(http.StatusBadRequest, idinqr.Refusal("not a call that can be read"))
		return res, nil
	case call.ID != s.Code.ID || call.Token != "" && call.Token != cl.set.QR.Token:
		res.Reply = reply(http.StatusNotFound, idinqr.Refusal("no such code"))
		return res, nil
	case s.Phase != counter && s.Phase != lists && s.Phase != rests:
		res.Reply, res.Notes = reply(http.StatusConflict, idinqr.Refusal("the code is in use")), []string{"a scan while another one runs"}
		return res, nil
	case !now.Before(s.Code.Expires):
		res.Reply = reply(http.StatusGone, idinqr.Refusal("the code has expired"))
		return res, nil
	}
	next := *s
	next.Issuer = call.Issuer
	began, err := c.start(ctx, cl, r, &next)
	if err != nil {
		return began, err
	}
	if f, failed := began.Step.(connector.Fail); failed { // the screen keeps its code: another bank may do
		status := http.StatusBadGateway
		if f.Reason == eid.Unavailable {
			status = http.StatusServiceUnavailable
		}
		res.Reply, res.Stale = reply(status, idinqr.Refusal("no transaction: "+f.Code)), began.Stale
		return res, nil
	}
	began.Reply = reply(http.StatusOK, idinqr.Answer(next.URL, next.ID))
	return began, nil
}

func reply(status int, body []byte) *connector.Reply {
	return &connector.Reply{Status: status, Header: http.Header{"Content-Type": {"application/json; charset=UTF-8"}}, Body: body}
}

// submitted is what a person does at the counter's screen.
func (c *Connector) submitted(ctx context.Context, cl *client, r *connector.Request, s *state, in url.Values) (connector.Result, error) {
	if s.Code == nil || s.Phase != counter && s.Phase != rests && s.Phase != lists {
		return c.stay(cl, r, s), nil
	}
	switch {
	case in.Get("choose") == "banks":
		s.Phase = lists
	case in.Get("choose") == "code" && s.Phase == lists && c.now().Before(s.Code.Expires):
		s.Phase = counter
	case in.Get("choose") == "code", in.Has("renew"):
		return c.show(ctx, cl, &state{Service: s.Service}, s.bytes())
	case in.Has("issuer"):
		issuer, fail := chosen(r, in.Get("issuer"))
		if fail != nil {
			return connector.Result{Step: *fail}, nil
		}
		return c.start(ctx, cl, r, &state{Issuer: issuer, Service: s.Service})
	}
	return c.stay(cl, r, s), nil
}
