package server

import (
	"net/http"
	"time"
)

// keysMaxAge is how long an eID may keep a copy of our keys.
const keysMaxAge = "max-age=1800"

// publishKeys serves the public half of the keys that eIDs which speak OpenID
// Connect fetch from us: one set for each contract.
func (c *core) publishKeys(mux *http.ServeMux, now func() time.Time) {
	for h, a := range c.agreements {
		if a.keys == nil {
			continue
		}
		path := "/jwks/" + string(h.env) + "/" + string(h.eid)
		for _, part := range []string{h.account, h.config} {
			if part != "" {
				path += "/" + part
			}
		}
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			body, err := a.keys(now)
			if err != nil { // the settings were checked
				http.Error(w, "The keys cannot be shown.", http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/jwk-set+json")
			w.Header().Set("Cache-Control", keysMaxAge)
			_, _ = w.Write(body) // the eID has gone
		})
	}
}
