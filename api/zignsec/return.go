package zignsec

import (
	"encoding/json"
	"net/url"
	"strings"

	"eidgate/broker"
	"eidgate/eid"
)

// A Return is how the browser leaves at the end (§7.2–7.4).
type Return struct {
	URL     string // "" stays on our page
	Message []byte // JSON object for the framing page
	AsText  bool   // post it as text
	Origins []string
}

type message struct {
	Command   string `json:"command"`
	ErrorCode string `json:"errorcode"`
	Error     string `json:"error"`
	Token     string `json:"token"`
}

// Leave says where a session that has ended sends the browser.
func Leave(s *broker.Session, spec *broker.Spec) (Return, error) {
	var pay payload
	if err := json.Unmarshal(spec.Payload, &pay); err != nil {
		return Return{}, err
	}
	m := message{Command: "zignsec_postback", Token: s.ID}
	to := pay.Target
	if s.State == broker.Failed {
		f := failure(s)
		m.ErrorCode, m.Error = f.Code, f.Description
		if pay.TargetError != "" {
			to = pay.TargetError
		}
	}
	out := Return{AsText: pay.MessageText, Origins: spec.Frames}
	var err error
	if out.Message, err = marshal(m); err != nil || to == "" {
		return out, err
	}
	relay := pay.RelayState
	if relay == "" {
		relay = s.ID
	}
	extra := "relaystate=" + escape(relay)
	if !pay.Third {
		extra += "&service=eIDBasic"
	}
	if s.State == broker.Failed && pay.Details {
		extra += "&errorcode=" + escape(m.ErrorCode) + "&error=" + escape(m.Error)
	}
	out.URL = appendQuery(to, extra)
	return out, nil
}

// appendQuery adds parameters to an address that was checked when it came, and
// leaves all of it as it was written.
func appendQuery(address, extra string) string {
	address, fragment, found := strings.Cut(address, "#")
	switch {
	case !strings.Contains(address, "?"):
		address += "?"
	case !strings.HasSuffix(address, "?") && !strings.HasSuffix(address, "&"):
		address += "&"
	}
	address += extra
	if found {
		address += "#" + fragment
	}
	return address
}

// escape leaves no "+", which not every reader takes for a blank.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// Outbox is what is to be told when a session has ended (§10). Pure.
func Outbox(f *broker.Final) []broker.Delivery {
	var pay payload
	if json.Unmarshal(f.Spec.Payload, &pay) != nil {
		return nil
	}
	body, err := render(f.Session, f.Spec, f.Identity, f.Evidence, f.Refs)
	if err != nil {
		return nil
	}
	kind := "session." + map[broker.State]string{broker.Finished: "finished", broker.Failed: eid.Reasons[f.Session.Reason].Outcome}[f.Session.State]
	base := broker.Delivery{Session: f.Session.ID, Account: f.Session.Account, Environment: f.Session.Environment, Type: kind, Due: f.Now}
	var out []broker.Delivery
	if pay.Webhook != "" {
		d := base
		d.ID, d.Kind, d.URL, d.Body, d.UpperHex = messageID(f), "webhook", pay.Webhook, body, pay.UpperHex
		if pay.HMAC {
			d.Key = f.Session.Key
		}
		d.Profile = "zignsec-20"
		if pay.Attempts == 3 {
			d.Profile = "zignsec-3"
		}
		out = append(out, d)
	}
	if pay.Email != "" {
		text := "Session " + f.Session.ID + " (" + string(f.Session.Environment) + ") has ended: " + string(f.Session.State) +
			".\nRead the result with GET " + resultPath(&pay, f.Session) + " and your key.\n"
		m := broker.MailBody{Subject: "eID result " + f.Session.ID, Text: text}
		if pay.EmailFull {
			m.Attachment = body
		}
		raw, err := json.Marshal(m)
		if err == nil {
			d := base
			d.ID, d.Kind, d.URL, d.Body, d.Profile = messageID(f), "email", pay.Email, raw, "email"
			out = append(out, d)
		}
	}
	return out
}

// messageID is a new row's, without hyphens: message ids have none.
func messageID(f *broker.Final) string { return "msg_" + strings.ReplaceAll(f.NewRow(), "-", "") }

// resultPath is where a session is read.
func resultPath(pay *payload, s *broker.Session) string {
	if pay.Third {
		return "/v3/eid/" + s.Method + "/" + s.ID
	}
	return "/v2/eid/" + s.ID
}
