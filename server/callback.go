package server

import (
	"errors"
	"io"
	"log/slog"
	"net/http"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
	"eidgate/web/hosted"
)

// maxCall bounds the body of an upstream's call to us.
const maxCall = 64 << 10

// callbacks are the addresses that upstreams know: browsers come back to
// /callback/ENVIRONMENT/EID, and an upstream itself calls below that.
func callbacks(mux *http.ServeMux, pages *hosted.Pages, b *broker.Broker, log *slog.Logger) {
	back := func(w http.ResponseWriter, r *http.Request) {
		pages.Return(w, r, eid.Environment(r.PathValue("environment")), eid.EID(r.PathValue("eid")))
	}
	mux.HandleFunc("GET /callback/{environment}/{eid}", back)
	mux.HandleFunc("POST /callback/{environment}/{eid}", back)
	mux.HandleFunc("POST /callback/{environment}/{eid}/{rest...}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		refuse := func(status int, text string) {
			w.Header().Set("Content-Type", "application/json; charset=UTF-8")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"error":"`+text+`"}`) // the caller has gone
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCall))
		if err != nil {
			refuse(http.StatusRequestEntityTooLarge, "the body is too large or has not come whole")
			return
		}
		in := connector.Inbound{Method: r.Method, Path: r.PathValue("rest"), Query: r.URL.Query(), Header: r.Header, Body: body}
		answer, err := b.Called(r.Context(), eid.Environment(r.PathValue("environment")), eid.EID(r.PathValue("eid")), in)
		switch {
		case errors.Is(err, broker.ErrNotFound):
			refuse(http.StatusNotFound, "nothing is known by this name")
		case err != nil:
			log.ErrorContext(r.Context(), "upstream's call failed", "eid", r.PathValue("eid"), "error", err)
			refuse(http.StatusInternalServerError, "this server failed; try again")
		case answer == nil: // another node is still busy with it, or the order has ended
			w.Header().Set("Retry-After", "2")
			refuse(http.StatusServiceUnavailable, "no answer yet; try again")
		default:
			for name, values := range answer.Header {
				w.Header()[name] = values
			}
			w.WriteHeader(answer.Status)
			_, _ = w.Write(answer.Body) // the caller has gone
		}
	})
}
