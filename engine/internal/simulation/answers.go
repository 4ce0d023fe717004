package simulation

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"k8s.io/client-go/util/cert"
)

// How long a client may take for the head of its request.
const headerTimeout = 10 * time.Second

// listen takes the port at which the API server looks for the kubelet of simulated nodes.
func listen(given options) (net.Listener, error) {
	certificate, err := tls.LoadX509KeyPair(given.certificate, given.key)
	if err != nil {
		return nil, err
	}
	authority, err := cert.NewPool(given.clientCA)
	if err != nil {
		return nil, err
	}
	return tls.Listen("tcp", net.JoinHostPort(given.bindAddress, strconv.Itoa(given.port)), &tls.Config{
		Certificates: []tls.Certificate{certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    authority,
		MinVersion:   tls.VersionTLS12,
	})
}

// serve answers until it is told to end.
func serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{Handler: answers(), ReadHeaderTimeout: headerTimeout}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}

// answers has the paths of a kubelet (pkg/kubelet/server) that lead to a pod. The API server passes the text on, in
// quotes, for a status of 501.
func answers() http.Handler {
	handler := http.NewServeMux()
	for path, what := range map[string]string{
		"/containerLogs/{namespace}/{pod}/{container}": "it has no logs",
		"/exec/{namespace}/{pod}/{container}":          "no command can be executed in it",
		"/attach/{namespace}/{pod}/{container}":        "there is nothing to attach to",
		"/run/{namespace}/{pod}/{container}":           "no command can be run in it",
		"/portForward/{namespace}/{pod}":               "none of its ports is open",
	} {
		handler.HandleFunc(path, func(response http.ResponseWriter, request *http.Request) {
			name := request.PathValue("namespace") + "/" + request.PathValue("pod")
			refuse(response, fmt.Sprintf("pod %s is simulated: %s", name, what))
		})
	}
	handler.HandleFunc("/healthz", func(response http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(response, "ok")
	})
	handler.HandleFunc("/", func(response http.ResponseWriter, _ *http.Request) {
		refuse(response, "this node is simulated: it has no kubelet")
	})
	return handler
}

// refuse says why. http.Error would end the text with a newline, which the API server shows as \n.
func refuse(response http.ResponseWriter, why string) {
	response.Header().Set("Content-Type", "text/plain; charset=utf-8")
	response.WriteHeader(http.StatusNotImplemented)
	fmt.Fprint(response, why)
}
