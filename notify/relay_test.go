package notify

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"eidgate/broker"
)

// A relay is the other side of SMTP (RFC 5321, 3207), as far as one mail goes.
type relay struct {
	plain bool   // it does not offer STARTTLS
	stall string // the command that it leaves without an answer, likewise
	hang  string // the command that it hangs up at, once TLS is there; "." for the end of the mail
	auth  string // how one may log in; "" for PLAIN
	login string // answer to a login; "" for 235
	rcpt  string // answer to RCPT; "" for 250
	data  string // answer to the mail; "" for 250

	stalled chan struct{} // closed when it does
	until   chan struct{} // when it hangs up then

	port  int
	roots *x509.CertPool
	mu    sync.Mutex
	said  []string // commands, in upper case
	got   string   // the mail
}

func (s *relay) start(t *testing.T) *Relay {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	s.roots = x509.NewCertPool()
	s.roots.AddCert(cert)
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer conn.Close()
				s.talk(conn, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); open.Wait() })
	return &Relay{Host: "localhost", Port: s.port, From: "eid@broker.example", Roots: s.roots}
}

func (s *relay) talk(conn net.Conn, conf *tls.Config) {
	say := func(text string) { fmt.Fprintf(conn, "%s\r\n", text) }
	say("220 localhost")
	in := bufio.NewReader(conn)
	secure := false
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.ToUpper(strings.TrimSpace(line))
		s.mu.Lock()
		s.said = append(s.said, line)
		s.mu.Unlock()
		verb, _, _ := strings.Cut(line, " ")
		if secure && verb == s.stall {
			s.wait()
			return
		}
		if secure && verb == s.hang {
			return
		}
		switch verb {
		case "EHLO":
			if s.plain || secure {
				say("250-localhost\r\n250 AUTH " + orElse(s.auth, "PLAIN"))
			} else {
				say("250-localhost\r\n250 STARTTLS")
			}
		case "STARTTLS":
			say("220 go on")
			c := tls.Server(conn, conf)
			conn, in, secure = c, bufio.NewReader(c), true
		case "AUTH":
			if strings.HasPrefix(line, "AUTH LOGIN") {
				for _, ask := range []string{"334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"} {
					say(ask)
					if _, err := in.ReadString('\n'); err != nil {
						return
					}
				}
			}
			say(orElse(s.login, "235 fine"))
		case "RCPT":
			say(orElse(s.rcpt, "250 fine"))
		case "DATA":
			say("354 go on")
			var b strings.Builder
			for {
				text, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if text == ".\r\n" {
					break
				}
				b.WriteString(text)
			}
			s.mu.Lock()
			s.got = b.String()
			s.mu.Unlock()
			if s.stall == "." {
				s.wait()
				return
			}
			if s.hang == "." {
				return
			}
			say(orElse(s.data, "250 fine"))
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 fine")
		}
	}
}

func (s *relay) wait() {
	close(s.stalled)
	<-s.until
}

func orElse(s, usual string) string {
	if s == "" {
		return usual
	}
	return s
}

var thin = broker.MailBody{Subject: "eID result 1234", Text: "Session 1234 has ended.\n"}

func TestRelayTakesAMail(t *testing.T) {
	t.Parallel()
	s := &relay{}
	r := s.start(t)
	r.User, r.Password = "eid", "secret"
	full := thin
	full.Attachment = []byte(`{"id":"1234","name":"Åsa"}`)
	if err := r.Send(t.Context(), "msg_1", "rp@example.com", full); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	said := strings.Join(s.said, "\n")
	if tls, auth := strings.Index(said, "STARTTLS"), strings.Index(said, "AUTH PLAIN"); tls < 0 || auth < tls {
		t.Errorf("the password went before TLS:\n%s", said)
	}
	m, err := mail.ReadMessage(strings.NewReader(s.got))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"To": "<rp@example.com>", "From": "<eid@broker.example>", "Message-Id": "<msg_1@broker.example>",
		"Subject": "eID result 1234", "Auto-Submitted": "auto-generated"} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if !strings.Contains(string(body), "has ended") || !strings.Contains(string(body), "result.json") {
		t.Errorf("body\n%s", body)
	}
}

func TestRelayRefuses(t *testing.T) {
	t.Parallel()
	log := func(r *Relay) { r.User, r.Password = "eid", "secret" }
	for name, c := range map[string]struct {
		relay *relay
		to    string
		other func(*Relay)
		want  RelayError
	}{
		"no STARTTLS":       {&relay{plain: true}, "rp@example.com", nil, RelayError{0, "tls", false}},
		"unknown CA":        {&relay{}, "rp@example.com", func(r *Relay) { r.Roots = x509.NewCertPool() }, RelayError{0, "tls", false}},
		"other name":        {&relay{}, "rp@example.com", func(r *Relay) { r.Host = "127.0.0.1" }, RelayError{0, "tls", false}},
		"nobody there":      {&relay{}, "rp@example.com", func(r *Relay) { r.Port = 1 }, RelayError{0, "refused", false}},
		"hangs up":          {&relay{hang: "MAIL"}, "rp@example.com", nil, RelayError{0, "refused", false}},
		"another login":     {&relay{auth: "XOAUTH2"}, "rp@example.com", log, RelayError{0, "login", false}},
		"wrong password":    {&relay{login: "535 no"}, "rp@example.com", log, RelayError{535, "relay", false}},
		"busy":              {&relay{rcpt: "451 later"}, "rp@example.com", nil, RelayError{451, "relay", false}},
		"no such mailbox":   {&relay{rcpt: "550 nobody"}, "rp@example.com", nil, RelayError{550, "relay", true}},
		"refuses the mail":  {&relay{data: "554 no"}, "rp@example.com", nil, RelayError{554, "relay", true}},
		"busy with it":      {&relay{data: "452 full"}, "rp@example.com", nil, RelayError{452, "relay", false}},
		"header in address": {&relay{}, "rp@example.com\r\nBcc: x@example.com", nil, RelayError{0, "invalid", true}},
		"two addresses":     {&relay{}, "rp@example.com, x@example.com", nil, RelayError{0, "invalid", true}},
		"host that is none": {&relay{}, "rp@exa\u2028mple.com", nil, RelayError{0, "invalid", true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := c.relay.start(t)
			if c.other != nil {
				c.other(r)
			}
			err := r.Send(t.Context(), "msg_1", c.to, thin)
			var got *RelayError
			if !errors.As(err, &got) || *got != c.want || errors.Is(err, ErrFinal) != c.want.Final {
				t.Errorf("%v, want %+v", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "example.com") {
				t.Errorf("the error names the address: %v", err)
			}
			c.relay.mu.Lock()
			defer c.relay.mu.Unlock()
			if c.relay.got != "" && c.relay.data == "" {
				t.Error("the mail was handed over")
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := (&Relay{Host: "localhost", Port: 1, From: "eid@broker.example"}).Send(ctx, "msg_1", "rp@example.com", thin); err == nil || errors.Is(err, ErrFinal) {
			t.Error(err)
		}
	})
}

// TestRelayLogin: PLAIN where the relay has it, else LOGIN, which is all that
// some have.
func TestRelayLogin(t *testing.T) {
	t.Parallel()
	for offers, want := range map[string]string{"PLAIN": "AUTH PLAIN", "LOGIN PLAIN": "AUTH PLAIN", "LOGIN XOAUTH2": "AUTH LOGIN"} {
		t.Run(offers, func(t *testing.T) {
			t.Parallel()
			s := &relay{auth: offers}
			r := s.start(t)
			r.User, r.Password = "eid", "secret"
			if err := r.Send(t.Context(), "msg_1", "rp@example.com", thin); err != nil {
				t.Error(err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if said := strings.Join(s.said, "\n"); !strings.Contains(said, want) {
				t.Errorf("%s, want %s", said, want)
			}
		})
	}
}

// TestHostInASCII: a relay need not know other letters than ASCII in a host.
func TestHostInASCII(t *testing.T) {
	t.Parallel()
	m, err := message("eid@broker.example", "msg_1", "rp@käse.example", thin)
	if err != nil {
		t.Fatal(err)
	}
	if to := m.GetTo(); len(to) != 1 || to[0].Address != "rp@xn--kse-qla.example" {
		t.Error(to)
	}
}

// TestSenderWithName: a Message-ID has the sender's domain and nothing else of it.
func TestSenderWithName(t *testing.T) {
	t.Parallel()
	m, err := message(`"eID @ Shop" <eid@broker.example>`, "msg_1", "rp@example.com", thin)
	if err != nil || m.GetMessageID() != "<msg_1@broker.example>" {
		t.Errorf("%v, %v", m, err)
	}
	if err == nil && len(m.GetAttachments()) != 0 {
		t.Error("a mail without a result has a file of that name")
	}
}

// TestMessagesThatCannotBe: nothing that somebody else has chosen becomes a header
// of its own.
func TestMessagesThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, to, subject string }{
		"a line in the subject": {"eid@broker.example", "rp@example.com", "eID\r\nBcc: x@example.com"},
		"LF in the subject":     {"eid@broker.example", "rp@example.com", "eID\nBcc: x@example.com"},
		"CR in the subject":     {"eid@broker.example", "rp@example.com", "eID\rBcc: x@example.com"},
		"a line in the address": {"eid@broker.example", "rp@example.com\r\nBcc: x@example.com", "eID"},
		"a folded line":         {"eid@broker.example", "rp\r\n <x@example.com>", "eID"},
		"a long address":        {"eid@broker.example", strings.Repeat("a", 243) + "@example.com", "eID"},
		"no sender":             {"", "rp@example.com", "eID"},
		"a line in the sender":  {"eid@broker.example\r\nBcc: x@example.com", "rp@example.com", "eID"},
		"nobody to send it to":  {"eid@broker.example", "", "eID"},
		"several to send it to": {"eid@broker.example", "rp@example.com, x@example.com", "eID"},
	} {
		if m, err := message(c.from, "msg_1", c.to, broker.MailBody{Subject: c.subject, Text: "x"}); err == nil {
			t.Errorf("%s: %v", name, m)
		}
	}
	if _, err := message("eid@broker.example", "msg_1", strings.Repeat("a", 242)+"@example.com", thin); err != nil {
		t.Errorf("the longest address: %v", err)
	}
}

// TestRelayHangsUp: a connection that breaks is no refusal, and a mail that was
// taken stays so, whatever comes after that.
func TestRelayHangsUp(t *testing.T) {
	t.Parallel()
	for hang, taken := range map[string]bool{"EHLO": false, "NOOP": false, "MAIL": false, "RCPT": false, "DATA": false, ".": false, "RSET": true, "QUIT": true} {
		t.Run(hang, func(t *testing.T) {
			t.Parallel()
			err := (&relay{hang: hang}).start(t).Send(t.Context(), "msg_1", "rp@example.com", thin)
			if (err == nil) != taken || errors.Is(err, ErrFinal) {
				t.Errorf("%v, want taken: %v", err, taken)
			}
		})
	}
}

// TestRelayStalls: who gives a mail up does not wait for the relay.
func TestRelayStalls(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"EHLO", "MAIL", "."} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			s := &relay{stall: verb, until: make(chan struct{}), stalled: make(chan struct{})}
			r := s.start(t)
			t.Cleanup(func() { close(s.until) }) // before the relay's own end
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- r.Send(ctx, "msg_1", "rp@example.com", thin) }()
			<-s.stalled
			cancel()
			select {
			case err := <-done:
				if e := (*RelayError)(nil); !errors.As(err, &e) || *e != (RelayError{Reason: "timeout"}) {
					t.Error(err)
				}
			case <-time.After(5 * time.Second):
				t.Error("it waits on")
			}
		})
	}
}
