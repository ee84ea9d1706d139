package notify

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"eidgate/broker"
)

func TestVectors(t *testing.T) {
	t.Parallel()
	body := []byte(`{"type":"session.finished","timestamp":"2026-01-02T03:04:05.678Z","data":{"id":"9dc96404-7c0f-4997-bf94-3cd7f9de41b0"}}`)
	const secret, id = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "msg_01J8ZQ4B7M3N5P6Q7R8S9T0V1W"
	at := time.Unix(1767323045, 0)
	got, err := Sign(secret, id, at, body)
	if want := "v1,+epcVL9hv1Rf8M+E6UrqGEHXmrsVsj/IxS85F8Vsp6E="; err != nil || got != want {
		t.Errorf("Sign = %s, %v; want %s", got, err, want)
	}
	for name, c := range map[string]struct {
		sig, stamp string
		body       []byte
		now        time.Time
		ok         bool
	}{
		"right":         {got, "1767323045", body, at, true},
		"second entry":  {"v1,AAAA " + got, "1767323045", body, at.Add(time.Minute), true},
		"other body":    {got, "1767323045", append([]byte(" "), body...), at, false},
		"old":           {got, "1767323045", body, at.Add(5*time.Minute + time.Second), false},
		"nearly old":    {got, "1767323045", body, at.Add(5 * time.Minute), true},
		"ahead":         {got, "1767323045", body, at.Add(-5*time.Minute - time.Second), false},
		"nearly ahead":  {got, "1767323045", body, at.Add(-5 * time.Minute), true},
		"other time":    {got, "1767323046", body, at, false},
		"no signature":  {"", "1767323045", body, at, false},
		"bad timestamp": {got, "soon", body, at, false},
	} {
		if err := Verify(secret, id, c.stamp, c.sig, c.body, c.now); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	private := Private(ed25519.NewKeyFromSeed(seed))
	public, err := Public(private)
	if want := "whpk_6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw="; err != nil || public != want {
		t.Errorf("Public = %s, %v; want %s", public, err, want)
	}
	signed, err := Sign(private, id, at, body)
	if want := "v1a,UFs445MCXKo6wfQwEW4LcZXhcD3quV7k6JWQOks33LXLxg+2vxFywl2SZLgLUrIzRos8Hyp99zAScfwEhTy5BQ=="; err != nil || signed != want {
		t.Errorf("Sign = %s, %v; want %s", signed, err, want)
	}
	for name, c := range map[string]struct {
		key, sig string
		body     []byte
		ok       bool
	}{
		"right":               {public, signed, body, true},
		"beside the other":    {public, got + " " + signed, body, true},
		"the other, beside":   {secret, got + " " + signed, body, true},
		"the other alone":     {public, got, body, false},
		"as the other":        {public, strings.Replace(signed, "v1a,", "v1,", 1), body, false},
		"other body":          {public, signed, append([]byte(" "), body...), false},
		"no base64":           {public, "v1a,?", body, false},
		"short":               {public, "v1a,AAAA", body, false},
		"a key that is none":  {"whpk_AAAA", signed, body, false},
		"a key of no base 64": {"whpk_?", signed, body, false},
	} {
		if err := Verify(c.key, id, "1767323045", c.sig, c.body, at); (err == nil) != c.ok {
			t.Errorf("v1a, %s: %v", name, err)
		}
	}
	for _, key := range []string{"whsk_", "whsk_?", "whsk_AAAA", "whpk_AAAA", "x"} {
		if sig, err := Sign(key, id, at, body); err == nil {
			t.Errorf("Sign with %s = %s", key, sig)
		}
		if public, err := Public(key); err == nil {
			t.Errorf("Public of %s = %s", key, public)
		}
	}
	old := []byte(`{"id":"61d300c2-cff8-4dc1-9abc-6d59f8876d32","errors":[],"identity":{"CountryCode":"SE","PersonalNumber":"191212121212"},"method":"sbid-another"}`)
	if got, want := ZignSec("00000000-e2a2-4968-b651-5352305c9fb0", old, false), "3634d0e4b36d507822a992e3cef35079941f5b840ed76b1ff79ae854dc494051"; got != want {
		t.Errorf("ZignSec = %s, want %s", got, want)
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	now := time.Unix(1767323045, 0)
	for name, c := range map[string]struct {
		attempt int
		profile string
		o       outcome
		state   string
		wait    time.Duration
	}{
		"delivered":          {1, "zignsec-20", outcome{ok: true, status: 204}, "delivered", 0},
		"gone":               {1, "zignsec-20", outcome{final: true, status: 410}, "failed", 0},
		"first failure":      {1, "zignsec-20", outcome{status: 500}, "pending", 10 * time.Second},
		"second failure":     {2, "zignsec-20", outcome{status: 500}, "pending", 30 * time.Second},
		"twentieth":          {20, "zignsec-20", outcome{status: 500}, "dead", 0},
		"third of three":     {3, "zignsec-3", outcome{status: 500}, "dead", 0},
		"too many requests":  {1, "zignsec-20", outcome{status: 429}, "pending", time.Minute},
		"timeout":            {1, "zignsec-20", outcome{reason: "timeout"}, "pending", time.Minute},
		"retry after":        {5, "zignsec-20", outcome{status: 503, after: 7 * time.Minute}, "pending", 7 * time.Minute},
		"retry after, far":   {5, "zignsec-20", outcome{status: 503, after: time.Hour}, "pending", 10 * time.Minute},
		"blocked":            {1, "zignsec-20", outcome{reason: "blocked"}, "pending", 10 * time.Second},
		"blocked, thrice":    {3, "zignsec-20", outcome{reason: "blocked"}, "dead", 0},
		"invalid, twice":     {2, "zignsec-20", outcome{reason: "invalid"}, "pending", 30 * time.Second},
		"invalid, thrice":    {3, "zignsec-20", outcome{reason: "invalid"}, "dead", 0},
		"gateway timeout":    {1, "zignsec-20", outcome{status: 504}, "pending", time.Minute},
		"an unknown profile": {1, "x", outcome{status: 500}, "pending", 5 * time.Second},
	} {
		for _, spent := range []int{0, 20} { // the schedule begins anew when it is put back
			state, due := next(broker.Claimed{Delivery: broker.Delivery{Profile: c.profile}, Attempt: spent + c.attempt, Spent: spent}, c.o, now, 0.5)
			if state != c.state || c.state == "pending" && due.Sub(now) != c.wait {
				t.Errorf("%s, %d before: %s after %s, want %s after %s", name, spent, state, due.Sub(now), c.state, c.wait)
			}
		}
	}
}

// TestSpread: what failed together does not come again together.
func TestSpread(t *testing.T) {
	t.Parallel()
	now := time.Unix(1767323045, 0)
	for random, want := range map[float64]time.Duration{0: 8 * time.Second, 0.5: 10 * time.Second, 1: 12 * time.Second} {
		_, due := next(broker.Claimed{Delivery: broker.Delivery{Profile: "zignsec-20"}, Attempt: 1}, outcome{status: 500}, now, random)
		if got := due.Sub(now); got != want {
			t.Errorf("random %v: after %s, want %s", random, got, want)
		}
	}
}
