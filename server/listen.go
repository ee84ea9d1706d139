package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
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
type PortInUse struct {
	Port int
	By   string // which, if it is one of ours: `"eidgate dev", process 4123`
}

func (p *PortInUse) Error() string {
	by := ""
	if p.By != "" {
		by = " (by " + p.By + ")"
	}
	return fmt.Sprintf("port %d is already in use%s", p.Port, by)
}

// holderOf asks the operations listener at a port of this machine who it is;
// "" where none of ours answers.
func holderOf(ctx context.Context, port int) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/version", port), nil)
	if err != nil {
		return ""
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	var v versionAnswer
	if json.NewDecoder(io.LimitReader(res.Body, 4096)).Decode(&v) != nil || v.Process == 0 {
		return ""
	}
	return fmt.Sprintf("%q, process %d", "eidgate "+clean(v.Command), v.Process)
}

// ownAddresses are those of this machine's interfaces.
func ownAddresses() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			ip := p.Addr().Unmap()
			out = append(out, netip.PrefixFrom(ip, ip.BitLen()))
		}
	}
	return out
}

// lanAddress is where a phone in the same network finds this machine.
func lanAddress(own []netip.Prefix) (netip.Addr, error) {
	for _, p := range own {
		if ip := p.Addr(); ip.Is4() && ip.IsPrivate() {
			return ip, nil
		}
	}
	return netip.Addr{}, errors.New("this machine has no address in a local network")
}

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
		return nil, &PortInUse{Port: port}
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

// publicTLS is how the public listener speaks TLS: version 1.2 with the suites
// that FAPI 2.0 leaves of it, or 1.3.
func publicTLS(shown showing) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: shown, CipherSuites: []uint16{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	}}
}

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
		log.InfoContext(stop, "requests cut off at the end of the drain", "listener", l.Addr().String())
		_ = s.Close() // what is cut off now is the point
	}
	return nil
}
