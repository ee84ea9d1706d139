package bankidse_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"eidgate/connector"
	"eidgate/sandbox"
)

// BenchmarkView has what a page costs that asks for the code of the moment, or
// whether something has happened.
func BenchmarkView(b *testing.B) {
	s := newService(b, sandbox.Ignore)
	res := s.begin(b)
	now := s.clock.Now().Add(time.Second)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.conn.View(res.State, now); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkResume has what an order's ticks cost: one that finds it pending, one
// that takes the result, both with their call to the simulator, and the one
// that verifies.
func BenchmarkResume(b *testing.B) {
	tick := func(b *testing.B, s *service, state []byte) connector.Result {
		res, err := s.conn.Resume(b.Context(), &s.request, state, connector.Tick{})
		if err != nil {
			b.Fatal(err)
		}
		return res
	}
	b.Run("pending", func(b *testing.B) {
		s := newService(b, sandbox.Ignore)
		res := s.begin(b)
		b.ReportAllocs()
		for b.Loop() {
			tick(b, s, res.State)
		}
	})
	b.Run("complete", func(b *testing.B) {
		s := newService(b, sandbox.Approve)
		var answer []byte
		s.wire.set(func(service http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				service.ServeHTTP(rec, r)
				answer = rec.Body.Bytes()
				w.WriteHeader(rec.Code)
				_, _ = w.Write(answer) // the client has gone
			})
		})
		s.collected(b, s.begin(b))
		again := string(answer)
		res := s.begin(b)
		s.replaced(strings.Replace(again, orderRef(b, again), string(res.Refs[0]), 1))
		b.ReportAllocs()
		for b.Loop() {
			if _, again := tick(b, s, res.State).Step.(connector.Again); !again {
				b.Fatal("no answer")
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		s := newService(b, sandbox.Approve)
		res := s.collected(b, s.begin(b))
		b.ReportAllocs()
		for b.Loop() {
			if tick(b, s, res.State).Confirmed == nil {
				b.Fatal("nobody is confirmed")
			}
		}
	})
}

// orderRef is whose answer a text is.
func orderRef(b *testing.B, answer string) string {
	var got struct{ OrderRef string }
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		b.Fatal(err)
	}
	return got.OrderRef
}
