package simulation

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// identity is the options of a server whose own certificate is the only one that it trusts.
func identity(t *testing.T) options {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:         true,
	}
	template.BasicConstraintsValid = true
	signed, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(signed)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := cert.EncodeCertificates(parsed)
	if err != nil {
		t.Fatal(err)
	}
	encodedKey, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	return options{
		bindAddress: "127.0.0.1",
		certificate: saved(t, "server.crt", encoded),
		key:         saved(t, "server.key", encodedKey),
		clientCA:    saved(t, "ca.crt", encoded),
	}
}

func saved(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// served is where answers are to be had until the test's end, and clients with and without a certificate.
func served(t *testing.T) (string, *http.Client, *http.Client) {
	t.Helper()
	given := identity(t)
	listener, err := listen(given)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serve(t.Context(), listener) }()
	t.Cleanup(func() {
		if err := <-ended; err != t.Context().Err() {
			t.Errorf("it ended by %v", err)
		}
	})
	authority, err := cert.NewPool(given.clientCA)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := tls.LoadX509KeyPair(given.certificate, given.key)
	if err != nil {
		t.Fatal(err)
	}
	known := &tls.Config{RootCAs: authority, Certificates: []tls.Certificate{shown}}
	stranger := &tls.Config{RootCAs: authority}
	return "https://" + listener.Addr().String(), client(t, known), client(t, stranger)
}

func client(t *testing.T, config *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestWhoeverAsksAPodIsToldWhatItIs(t *testing.T) {
	address, known, _ := served(t)
	for path, expected := range map[string]string{
		"/containerLogs/default/web/main":           "pod default/web is simulated: it has no logs",
		"/containerLogs/default/web/main?follow=on": "pod default/web is simulated: it has no logs",
		"/exec/default/web/main?command=sh":         "pod default/web is simulated: no command can be executed in it",
		"/attach/default/web/main":                  "pod default/web is simulated: there is nothing to attach to",
		"/portForward/default/web":                  "pod default/web is simulated: none of its ports is open",
		"/stats/summary":                            "this node is simulated: it has no kubelet",
	} {
		answer, err := known.Post(address+path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusNotImplemented || string(text) != expected {
			t.Errorf("%s: %d %s (%v)", path, answer.StatusCode, text, err)
		}
	}
}

func TestStrangersAreToldNothing(t *testing.T) {
	address, _, stranger := served(t)
	if answer, err := stranger.Get(address + "/healthz"); err == nil {
		answer.Body.Close()
		t.Errorf("it answers %s", answer.Status)
	}
}
