// Demo-rp runs the demo shop alone, against an eidgate elsewhere:
//
//	eidgate dev --env-file eidgate.env
//	set -a; . ./eidgate.env; go run ./examples/demo-rp/cmd/demo-rp
package main

import (
	"cmp"
	"log"
	"net/http"
	"os"
	"time"

	demorp "eidgate/examples/demo-rp"
)

func main() {
	shop := &demorp.Shop{
		Broker: cmp.Or(os.Getenv("EIDGATE_URL"), "http://localhost:8700"),
		Key:    os.Getenv("EIDGATE_KEY"),
		Secret: os.Getenv("EIDGATE_WEBHOOK_SECRET"),
		Client: os.Getenv("EIDGATE_CLIENT_ID"), ClientSecret: os.Getenv("EIDGATE_CLIENT_SECRET"),
		Self: cmp.Or(os.Getenv("SHOP_URL"), "http://localhost:3000"),
	}
	listen := cmp.Or(os.Getenv("SHOP_LISTEN"), "localhost:3000")
	log.Println("the shop is at", shop.Self)
	server := &http.Server{Addr: listen, Handler: shop.Handler(), ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second}
	log.Fatal(server.ListenAndServe())
}
