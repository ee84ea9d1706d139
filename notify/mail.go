package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"eidgate/broker"
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
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := w.c.Mailer.Send(ctx, c.ID, c.URL, m); err != nil {
		return outcome{final: errors.Is(err, ErrFinal), reason: "relay"}
	}
	return outcome{ok: true}
}

// A Relay is the mail server that mail is submitted to, over TLS only.
type Relay struct {
	Host, User, Password, From string
	Port                       int            // 465 for TLS from the start, else STARTTLS, which must be offered
	Roots                      *x509.CertPool // optional: who may vouch for the relay; nil for the system's
}

// Send implements Mailer.
func (r *Relay) Send(ctx context.Context, id, to string, m broker.MailBody) error {
	msg, err := message(r.From, id, to, m)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFinal, err)
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
	opts := []mail.Option{mail.WithPort(r.Port), mail.WithTimeout(20 * time.Second), mail.WithTLSPolicy(mail.TLSMandatory),
		mail.WithTLSConfig(conf), mail.WithDialContextFunc(dial)}
	if r.Port == 465 {
		opts = append(opts, mail.WithSSL())
	}
	if r.User != "" {
		opts = append(opts, mail.WithSMTPAuth(mail.SMTPAuthPlain), mail.WithUsername(r.User), mail.WithPassword(r.Password))
	}
	client, err := mail.NewClient(r.Host, opts...)
	if err != nil {
		return fmt.Errorf("mail relay: %w", err)
	}
	err = client.DialAndSendWithContext(ctx, msg)
	if err == nil || msg.IsDelivered() { // what goes wrong after that changes nothing
		return nil
	}
	var se *mail.SendError
	if errors.As(err, &se) && se.ErrorCode() >= 500 { // the relay's own word: 0 where the connection broke
		return fmt.Errorf("%w: relay refuses", ErrFinal)
	}
	return errors.New("mail relay did not take the mail")
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
	if err := msg.To(to); err != nil {
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
