package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// What commands decide on.
var (
	ErrConfig      = errors.New("configuration")
	ErrUnreachable = errors.New("not reachable")
	ErrBehind      = errors.New("the database is behind this version")
)

// PortInUse means that another program listens there already.
type PortInUse struct{ Port int }

func (p *PortInUse) Error() string { return fmt.Sprintf("port %d is already in use", p.Port) }

// ports are consecutive listeners from a first port, or free ones for 0.
type ports struct {
	host  string
	first int
	all   []net.Listener
}

// listen opens the listener with the given offset from the first port.
func (p *ports) listen(offset int) (net.Listener, error) {
	port := 0
	if p.first != 0 {
		port = p.first + offset
	}
	l, err := net.Listen("tcp", net.JoinHostPort(p.host, strconv.Itoa(port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &PortInUse{port}
	}
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	p.all = append(p.all, l)
	return l, nil
}

func (p *ports) close() {
	for _, l := range p.all {
		_ = l.Close() // servers that run have closed theirs already
	}
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// serve runs an HTTP server until ctx ends, then lets running requests finish
// for a while.
func serve(ctx context.Context, l net.Listener, s *http.Server, drain time.Duration, log *slog.Logger) error {
	s.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	done := make(chan error, 1)
	go func() {
		if s.TLSConfig != nil {
			done <- s.ServeTLS(l, "", "")
			return
		}
		done <- s.Serve(l)
	}()
	select {
	case err := <-done:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := s.Shutdown(stop); err != nil {
		log.Info("requests cut off at the end of the drain", "listener", l.Addr().String())
		_ = s.Close() // what is cut off now is the point
	}
	return nil
}
