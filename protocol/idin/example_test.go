package idin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"eidgate/protocol/idin"
)

// routingService plays the acquirer and a bank whose customer agrees at once.
func routingService() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case strings.Contains(string(body), "<DirectoryReq"):
			_, _ = w.Write(signed(noTest{}, "DirectoryRes", created()+goodDirectory))
		case strings.Contains(string(body), "<AcquirerTrxReq"):
			_, _ = w.Write(signed(noTest{}, "AcquirerTrxRes", created()+goodStart))
		default:
			_, _ = w.Write(success().raw(noTest{}))
		}
	}))
}

// A login, from the list of banks to the person.
func Example() {
	srv := routingService()
	defer srv.Close()
	m := merchant() // a *Merchant from your settings
	m.DirectoryURL, m.TransactionURL, m.StatusURL, m.AllowHTTP = srv.URL, srv.URL, srv.URL, true
	if err := m.Check(); err != nil {
		log.Fatal(err)
	}
	ctx, clock := context.Background(), func() time.Time { return now }
	client := idin.NewClient(m, idin.WithClock(clock))

	banks, err := client.Directory(ctx) // once a day
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(banks.Countries[0].Issuers[0].Name)

	tx := idin.Transaction{Issuer: "BANKNL2Y", ReturnURL: "https://shop.example/back", Language: "nl", Service: idin.BIN | idin.Name | idin.Adult,
		EntranceCode: "Ec0000000001", Reference: "Mref0000000001"} // NewEntranceCode() and NewReference()
	started, err := client.Start(ctx, tx)
	var said *idin.Error
	switch {
	case errors.As(err, &said):
		log.Fatal(idin.ConsumerMessage(said.Code, "nl"))
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println("send the browser to", started.URL)

	// The browser is back, with trxid and ec.
	raw, err := client.Status(ctx, started.TransactionID)
	if err != nil {
		log.Fatal(err)
	}
	// Keep raw now: the bank gives data once.
	status, err := m.ReadStatus(raw, idin.Expected{TransactionID: started.TransactionID, Reference: tx.Reference, Issuer: tx.Issuer,
		Service: tx.Service}, clock())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(status.State, status.Missing)
	if status.State != idin.Success {
		return
	}
	person, err := status.Open(ctx, semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0))))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(person.Initials, person.LegalLastName, *person.Adult)
	// Output:
	// Bank Een
	// send the browser to https://bank.example/x
	// Success 0
	// VJ Vriës true
}

// What may be asked, and what came of it.
func ExampleServiceID() {
	asked := idin.BIN | idin.Name | idin.Birth
	delivered := idin.BIN | idin.Adult
	fmt.Println(asked)
	fmt.Println(asked.Valid(), delivered.Has(idin.BIN))
	fmt.Println(delivered.Missing(asked))
	// Output:
	// 20928 bin+name+birth
	// true true
	// 4544 name+birth
}
