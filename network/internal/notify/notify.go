// Package notify tells the supervisor that a program serves.
package notify

import (
	"net"
	"os"
)

// Ready says so, as sd_notify(3) has it. Without NOTIFY_SOCKET nobody wants to know.
func Ready() error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	connection, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer connection.Close()
	_, err = connection.Write([]byte("READY=1"))
	return err
}
