package bankidse_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"eidgate/protocol/bankidse"
)

// TestNothingPersonalInLogs gives every type that knows a person or a secret
// to both handlers and to fmt: by value, by pointer, and inside an error.
func TestNothingPersonalInLogs(t *testing.T) {
	t.Parallel()
	canaries := []string{"199001012385", "Ada", "c0ffee", "203.0.113.24"}
	var done bankidse.Completion
	done.User.PersonalNumber, done.User.Name, done.User.GivenName, done.User.Surname = "199001012385", "Ada Test", "Ada", "Ada"
	done.Device.IPAddress, done.Device.UHI, done.Signature, done.OCSPResponse = "203.0.113.24", "c0ffee", "c0ffee", "c0ffee"
	start := bankidse.StartRequest{EndUserIP: "203.0.113.24", UserVisibleData: "c0ffee", ReturnURL: "https://eid.example.com/#nonce=c0ffee",
		Web: &bankidse.Web{DeviceIdentifier: "c0ffee"}, Requirement: &bankidse.Requirement{PersonalNumber: "199001012385"}}
	for name, v := range map[string]any{
		"start":        start,
		"auth":         bankidse.AuthRequest(start),
		"sign":         bankidse.SignRequest(start),
		"web":          *start.Web,
		"requirement":  *start.Requirement,
		"order":        bankidse.Order{OrderRef: "c0ffee", AutoStartToken: "c0ffee", QRStartToken: "c0ffee", QRStartSecret: "c0ffee"},
		"collected":    bankidse.Collected{OrderRef: "c0ffee", Status: bankidse.Complete, HintCode: "199001012385", Completion: &done},
		"completion":   done,
		"verify input": bankidse.VerifyInput{Signature: "c0ffee", OCSP: "c0ffee", Visible: "c0ffee", PersonalNumber: "199001012385"},
		"verified":     bankidse.Verified{PersonalNumber: "199001012385", Name: "Ada Test", Visible: []byte("Ada"), Serial: "c0ffee"},
		"error":        bankidse.Error{Status: 400, Code: "invalidParameters", Details: "for 199001012385"},
	} {
		var out bytes.Buffer
		pointer := pointerTo(v)
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			log := slog.New(h)
			for _, x := range []any{v, pointer, fmt.Errorf("wrapped: %v and %+v", v, pointer), errors.Join(fmt.Errorf("%s", v))} {
				log.InfoContext(context.Background(), "canary", "value", x)
			}
		}
		for _, c := range canaries {
			if strings.Contains(out.String(), c) {
				t.Errorf("%s: %q is in the log:\n%s", name, c, &out)
				break
			}
		}
	}
	if raw, err := json.Marshal(start); err != nil || !strings.Contains(string(raw), "199001012385") {
		t.Errorf("what is sent to BankID is hidden too: %s, %v", raw, err)
	}
}

// pointerTo is a pointer to a copy of v, of v's own type.
func pointerTo(v any) any {
	p := reflect.New(reflect.TypeOf(v))
	p.Elem().Set(reflect.ValueOf(v))
	return p.Interface()
}
