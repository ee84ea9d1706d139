package hosted_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/web/hosted"
)

// discard is a client that reads nothing.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// BenchmarkPages is what each page of a login with Swedish BankID on another
// device costs, and the parts that its waiting page renews.
func BenchmarkPages(b *testing.B) {
	front := view()
	front.Front.Form.Fields = []connector.Field{{Name: "device", Kind: connector.Choice, Default: "other", Options: []connector.Option{
		{Value: "other", Label: "bankidse.device.other"}, {Value: "same", Label: "bankidse.device.same"}}}}
	wait := view()
	wait.Place = broker.AtStep
	wait.Step = connector.Wait{QR: "bankid.67df3917-fa0d-44e5-b327-edcc928297f8.59.dc69358e712458a66a7525beef148ae8526b1c71610eff2c16cdffb4cdac9bf8",
		Hint: "bankidse.rfa1", Until: now.Add(time.Minute)}
	end := view()
	end.Place, end.Session.State = broker.AtEnd, broker.Finished
	for _, c := range []struct {
		name, rest string
		view       *broker.View
	}{
		{"front", "", front}, {"code", "", wait}, {"status", "status?k=qr", wait}, {"picture", "qr.svg", wait}, {"end", "", end},
	} {
		p := pages(b, c.view, true, hosted.Return{Message: []byte(`{"state":"finished"}`)})
		r := httptest.NewRequest(http.MethodGet, "https://eid.example/s/"+c.rest, nil)
		r.AddCookie(&http.Cookie{Name: "__Host-eidgate_b", Value: strings.Repeat("a", 32)})
		r.Header.Set("Accept-Language", "sv-SE,sv;q=0.9,en;q=0.8")
		r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
		rest, _, _ := strings.Cut(c.rest, "?")
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Serve(discard{http.Header{}}, r, c.view.Session.ID, rest)
			}
		})
	}
}
