package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"time"
	"unicode"

	"github.com/wneessen/go-mail"
	"golang.org/x/net/idna"

	"eidgate/broker"
	"eidgate/internal/safehttp"
)

// mail hands a mail over.
func (w *Worker) mail(ctx context.Context, c broker.Claimed) outcome {
	if w.c.Mailer == nil {
		return outcome{final: true, reason: "no_relay"}
	}
	var m broker.MailBody
	if json.Unmarshal(c.Body, &m) != nil {
		return outcome{final: true, reason: "invalid"}
	}
	ctx, cancel := context.WithTimeout(ctx, 25*time.Second) // before the library's own end
	defer cancel()
	if err := w.c.Mailer.Send(ctx, c.ID, c.URL, m); err != nil {
		o := outcome{final: errors.Is(err, ErrFinal), reason: "relay"}
		if e := (*RelayError)(nil); errors.As(err, &e) {
			o.status, o.reason = e.Status, e.Reason
		}
		return o
	}
	return outcome{ok: true}
}

// A Relay is the mail server that mail is submitted to, over TLS only.
type Relay struct {
	Host, User, Password, From string
	Port                       int            // 465 for TLS from the start, else STARTTLS, which must be offered
	Roots                      *x509.CertPool // optional: who may vouch for the relay; nil for the system's
}

// A RelayError is why a relay has not taken a mail. It names no address.
type RelayError struct {
	Status int    // what the relay answered; 0 where that is not the reason
	Reason string // "relay" for what it says, "login" where it offers no way that is known here, else one of safehttp's
	Final  bool
}

func (e *RelayError) Error() string {
	return fmt.Sprintf("mail relay did not take the mail: %s, status %d", e.Reason, e.Status)
}

// Is makes a final one ErrFinal.
func (e *RelayError) Is(target error) bool { return target == ErrFinal && e.Final }

// Send implements Mailer.
func (r *Relay) Send(ctx context.Context, id, to string, m broker.MailBody) error {
	msg, err := message(r.From, id, to, m)
	if err != nil {
		return &RelayError{Reason: string(safehttp.Invalid), Final: true}
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: r.Host, RootCAs: r.Roots}
	// The library leaves a connection open whose greeting goes wrong, and heeds
	// ctx until then only.
	var conn net.Conn
	stop := func() bool { return true }
	defer func() {
		if conn != nil {
			_ = conn.Close() // whatever there was to say has been said
		}
		stop()
	}()
	dial := func(dialing context.Context, network, address string) (_ net.Conn, err error) {
		d := &net.Dialer{}
		var c net.Conn
		if r.Port == 465 {
			c, err = (&tls.Dialer{NetDialer: d, Config: conf}).DialContext(dialing, network, address)
		} else {
			c, err = d.DialContext(dialing, network, address)
		}
		if err != nil {
			return nil, err
		}
		conn, stop = c, context.AfterFunc(ctx, func() { _ = c.Close() }) // whoever waits learns of it
		return c, nil
	}
	opts := []mail.Option{mail.WithPort(r.Port), mail.WithTimeout(exchange), mail.WithTLSPolicy(mail.TLSMandatory),
		mail.WithTLSConfig(conf), mail.WithDialContextFunc(dial)}
	if r.Port == 465 {
		opts = append(opts, mail.WithSSL())
	}
	if r.User != "" {
		opts = append(opts, mail.WithOpportunisticSMTPAuth(mail.SMTPAuthPlain, mail.SMTPAuthLogin), mail.WithUsername(r.User), mail.WithPassword(r.Password))
	}
	client, err := mail.NewClient(r.Host, opts...)
	if err != nil {
		return fmt.Errorf("mail relay: %w", err)
	}
	err = client.DialAndSendWithContext(ctx, msg)
	if err == nil || msg.IsDelivered() { // what goes wrong after that changes nothing
		return nil
	}
	return explain(ctx, err)
}

// explain says why a mail was not taken. What the relay says of a mail is its
// last word; what it says before, of a password for example, is not.
func explain(ctx context.Context, err error) *RelayError {
	var sent *mail.SendError
	var said *textproto.Error
	switch {
	case errors.As(err, &sent) && sent.ErrorCode() > 0: // 0 where the connection broke
		return &RelayError{Status: sent.ErrorCode(), Reason: "relay", Final: sent.ErrorCode() >= 500}
	case errors.As(err, &said):
		return &RelayError{Status: said.Code, Reason: "relay"}
	case ctx.Err() != nil:
		return &RelayError{Reason: string(safehttp.Timeout)}
	case sent != nil:
		return &RelayError{Reason: string(safehttp.Refused)}
	case errors.Is(err, mail.ErrNoSupportedAuthDiscovered):
		return &RelayError{Reason: "login"}
	case strings.Contains(err.Error(), "does not support STARTTLS"):
		return &RelayError{Reason: string(safehttp.TLS)}
	}
	if reason := safehttp.ReasonOf(err); reason != safehttp.Bad {
		return &RelayError{Reason: string(reason)}
	}
	return &RelayError{Reason: "relay"}
}

// message puts a mail together; the library writes the headers.
func message(from, id, to string, m broker.MailBody) (*mail.Msg, error) {
	if len(to) > 254 || strings.ContainsAny(to+m.Subject, "\r\n") {
		return nil, errors.New("address or subject cannot be used")
	}
	msg := mail.NewMsg()
	if err := msg.From(from); err != nil {
		return nil, errors.New("sender address cannot be used")
	}
	user, host := to[:strings.LastIndexByte(to, '@')+1], to[strings.LastIndexByte(to, '@')+1:]
	if strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) { // not every relay takes it so
		var err error
		if host, err = idna.Lookup.ToASCII(host); err != nil {
			return nil, errors.New("address cannot be used")
		}
	}
	if err := msg.To(user + host); err != nil {
		return nil, errors.New("address cannot be used")
	}
	sender := msg.GetFrom()[0].Address // without a name
	msg.SetMessageIDWithValue(id + sender[strings.LastIndexByte(sender, '@'):])
	msg.SetDate()
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.Subject(m.Subject)
	msg.SetBodyString(mail.TypeTextPlain, m.Text)
	if len(m.Attachment) > 0 {
		if err := msg.AttachReader("result.json", strings.NewReader(string(m.Attachment)), mail.WithFileContentType("application/json")); err != nil {
			return nil, errors.New("attachment cannot be used")
		}
	}
	return msg, nil
}
