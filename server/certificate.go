package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
)

// A certificate is what a listener shows. Its files may be renewed while the
// server runs: connections that begin after they were read anew get the new one.
type certificate struct {
	setting string // whose files they are, "server.tls"
	files   TLSConfig
	held    atomic.Pointer[tls.Certificate]
}

// read reads the files; what was held stays where they are not a certificate and
// its key.
func (c *certificate) read() error {
	pair, err := tls.LoadX509KeyPair(c.files.Certificate, c.files.Key)
	if err != nil {
		return fmt.Errorf("%s: %w", c.setting, err)
	}
	c.held.Store(&pair)
	return nil
}

// showing is what tls.Config asks for a certificate.
type showing = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// fixed shows one for ever.
func fixed(cert tls.Certificate) showing {
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.held.Load(), nil }

// renew reads the certificates of all listeners anew whenever somebody asks for
// it, until ctx ends.
func renew(ctx context.Context, asked <-chan os.Signal, doors []door, log *slog.Logger) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-asked:
		}
		for _, d := range doors {
			if d.shows == nil {
				continue
			}
			if err := d.shows.read(); err != nil {
				log.ErrorContext(ctx, "the certificate that is there stays: the new one cannot be read", "error", err)
				continue
			}
			log.InfoContext(ctx, "certificate read anew", "setting", d.shows.setting, "until", d.shows.held.Load().Leaf.NotAfter)
		}
	}
}
