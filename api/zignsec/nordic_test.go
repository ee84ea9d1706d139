package zignsec

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"eidgate/connector"
	"eidgate/eid"
)

// norwegian is what a story has Norwegian BankID say, over a contract that
// covers everything: Ola is who logs in, and is told of as far as is asked.
type norwegian struct {
	now    func() time.Time
	orders atomic.Int64
}

func (*norwegian) Info() connector.Info {
	return connector.Info{EID: eid.BankIDNO, Purposes: []eid.Purpose{eid.Identify}, Modes: []string{"", "web", "mobile"}, Breakout: true}
}

func (n *norwegian) Begin(context.Context, *connector.Request) (connector.Result, error) {
	ref := fmt.Sprintf("no-%d", n.orders.Add(1))
	return connector.Result{Step: connector.Redirect{URL: "https://bankid.example/" + ref}, State: []byte(ref), Refs: []connector.Ref{connector.Ref(ref)}}, nil
}

func (n *norwegian) Resume(_ context.Context, r *connector.Request, state []byte, e connector.Event) (connector.Result, error) {
	if _, ok := e.(connector.Called); !ok {
		return connector.Result{Step: connector.Redirect{URL: "https://bankid.example/" + string(state)}, State: state}, nil
	}
	asked := func(word string) bool { return r.Wanted == nil || slices.Contains(r.Wanted, word) }
	id := &eid.Identity{EID: eid.BankIDNO, At: n.now(), Country: "NO", Subject: "9578-6000-4-000017", Request: string(state), Kind: "BID", Level: "urn:bankid:bid;LOA=4"}
	if asked(eid.WantNumber) {
		id.Number = "01819010354"
	}
	if asked(eid.WantName) {
		id.Name, id.Given, id.Family = "Ola Nordmann", "Ola", "Nordmann"
	}
	if asked(eid.WantBirth) {
		age := 36
		id.Birth, id.Age = "1990-01-01", &age
	}
	if asked(eid.WantPhone) {
		id.Phone = "+4799999999"
	}
	if asked(eid.WantEmail) {
		id.Email = "ola@example.test"
	}
	if asked(eid.WantAddress) {
		id.Address = &eid.Address{Lines: []string{"Eksempelveien 1"}, PostalCode: "0001", City: "Oslo", Country: "NO"}
	}
	return connector.Result{Step: connector.Done{}, Confirmed: id, Evidence: []eid.Evidence{{Name: "id_token", Type: "application/jwt", Data: []byte("e30.e30.c2ln")}}}, nil
}

// Locate implements connector.Locator.
func (*norwegian) Locate(in connector.Inbound) (connector.Ref, error) {
	return connector.Ref(in.Query.Get("ref")), nil
}

// bankIDNOSays is the part of control that is about Norwegian BankID:
//
//	POST /-/bankidno?ref=REF                 BankID has confirmed Ola
func (w *world) bankIDNOSays(rw http.ResponseWriter, r *http.Request) {
	if _, err := w.broker.Called(r.Context(), eid.Test, eid.BankIDNO, connector.Inbound{Query: r.URL.Query()}); err != nil {
		http.Error(rw, err.Error(), http.StatusConflict)
		return
	}
	rw.WriteHeader(http.StatusNoContent)
}
