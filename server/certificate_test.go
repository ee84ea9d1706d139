package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCertificateIsReadAnew: on a reload new connections get the certificate that
// the files hold by then, of every listener; one that cannot be read changes nothing.
func TestCertificateIsReadAnew(t *testing.T) {
	t.Parallel()
	files := TLSConfig{filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")}
	put := func(serial int64) {
		t.Helper()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		self := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, self, self, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		for name, block := range map[string]*pem.Block{files.Certificate: {Type: "CERTIFICATE", Bytes: der}, files.Key: {Type: "PRIVATE KEY", Bytes: raw}} {
			if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(1)
	doors := []door{{server: &http.Server{}}, {server: &http.Server{}}, {server: &http.Server{}}} //nolint:gosec // they serve nothing
	for i, speak := range []func(showing) *tls.Config{publicTLS, mutualTLS} {
		if err := doors[i].secure("server.tls", files, speak); err != nil {
			t.Fatal(err)
		}
	}
	if err := doors[2].secure("server.tls", TLSConfig{}, publicTLS); err != nil || doors[2].shows != nil || doors[2].server.TLSConfig != nil {
		t.Fatalf("a door without TLS: %v", err)
	}
	want := func(serial int64) {
		t.Helper()
		for i, d := range doors[:2] {
			got, err := shake(d.server.TLSConfig, &tls.Config{MinVersion: tls.VersionTLS12})
			if err != nil || got.PeerCertificates[0].SerialNumber.Int64() != serial {
				t.Errorf("door %d: %v, want %d", i, err, serial)
			}
		}
	}
	want(1)
	var log strings.Builder
	asked := make(chan os.Signal)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- renew(ctx, asked, doors, slog.New(slog.NewTextHandler(&log, nil))) }()
	put(2)
	want(1) // nobody has asked
	reload := func() {
		asked <- syscall.SIGHUP
		asked <- syscall.SIGHUP // it takes the second once it has done with the first
	}
	reload()
	want(2)
	if err := os.WriteFile(files.Key, []byte("half of a"), 0o600); err != nil {
		t.Fatal(err)
	}
	reload()
	want(2)
	put(3)
	reload()
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	want(3)
	for _, part := range []string{"level=INFO msg=\"certificate read anew\" setting=server.tls until=", "level=ERROR msg=\"the certificate that is there stays: the new one cannot be read\" error=\"server.tls: "} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("the log has no %s:\n%s", part, log.String())
		}
	}
}
