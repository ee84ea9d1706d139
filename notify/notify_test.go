package notify

import (
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
		"old":           {got, "1767323045", body, at.Add(6 * time.Minute), false},
		"other time":    {got, "1767323046", body, at, false},
		"no signature":  {"", "1767323045", body, at, false},
		"bad timestamp": {got, "soon", body, at, false},
	} {
		if err := Verify(secret, id, c.stamp, c.sig, c.body, c.now); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
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
		"an unknown profile": {1, "x", outcome{status: 500}, "pending", 5 * time.Second},
	} {
		state, due := next(broker.Claimed{Delivery: broker.Delivery{Profile: c.profile}, Attempt: c.attempt}, c.o, now, 0.5)
		if state != c.state || c.state == "pending" && due.Sub(now) != c.wait {
			t.Errorf("%s: %s after %s, want %s after %s", name, state, due.Sub(now), c.state, c.wait)
		}
	}
}
