package egress

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// give answers one question on a socket as the process outside does, with a socket or without one.
func give(t *testing.T, said string, given interface {
	SyscallConn() (syscall.RawConn, error)
}) outside {
	t.Helper()
	path := filepath.Join(t.TempDir(), "outside.sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		asked, err := listener.AcceptUnix()
		if err != nil {
			return
		}
		defer asked.Close()
		_, _ = asked.Read(make([]byte, 256))
		var rights []byte
		if given != nil {
			raw, _ := given.SyscallConn()
			_ = raw.Control(func(descriptor uintptr) {
				rights = unix.UnixRights(int(descriptor))
				_, _, _ = asked.WriteMsgUnix([]byte(said), rights, nil)
			})
			return
		}
		_, _ = asked.Write([]byte(said))
	}()
	return outside(path)
}

func TestEntranceLeadsHere(t *testing.T) {
	far, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	near, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	defer far.Close()
	go func() {
		for {
			connection, err := near.Accept()
			if err != nil {
				return
			}
			question, _ := io.ReadAll(connection)
			fmt.Fprintf(connection, "answer to %s", question)
			connection.Close()
		}
	}()
	way, err := parseEntrance(far.Addr().String() + "=" + near.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := way.open(give(t, "ok\n", far.(*net.TCPListener))); err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp4", far.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	fmt.Fprint(client, "question")
	_ = client.(*net.TCPConn).CloseWrite()
	if said, err := io.ReadAll(client); err != nil || string(said) != "answer to question" {
		t.Errorf("the client heard %q, %v", said, err)
	}
}

func TestRefusalKeepsItsNumber(t *testing.T) {
	_, err := give(t, fmt.Sprintf("error %d\n", int(syscall.ETIMEDOUT)), nil).dial("tcp4", "192.0.2.1:1")
	if !errors.Is(err, syscall.ETIMEDOUT) || !isTimeout(err) {
		t.Errorf("got %v", err)
	}
	if _, err := give(t, "ok\n", nil).dial("tcp4", "192.0.2.1:1"); err == nil {
		t.Error("an answer without a socket was taken for one")
	}
}

func TestLoopbackIsTranslated(t *testing.T) {
	asked := ""
	remembering := dial(func(_, address string) (net.Conn, error) {
		asked = address
		return nil, io.EOF
	})
	translating := remembering.translated(netip.MustParsePrefix("169.254.0.0/24"), netip.MustParsePrefix("127.0.0.0/24"))
	for address, wanted := range map[string]string{"169.254.0.53:53": "127.0.0.53:53", "192.0.2.7:80": "192.0.2.7:80"} {
		if _, _ = translating("udp4", address); asked != wanted {
			t.Errorf("%s: %s was asked, not %s", address, asked, wanted)
		}
	}
}

func TestSomeRangesAreReachedFromHere(t *testing.T) {
	near, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	refusing := dial(func(_, _ string) (net.Conn, error) { return nil, io.EOF })
	outward := refusing.except([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	connection, err := outward("tcp4", near.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	connection.Close()
	if _, err := outward("tcp4", "192.0.2.1:1"); err != io.EOF {
		t.Errorf("got %v", err)
	}
}

func TestEntrancesAreAddresses(t *testing.T) {
	for _, text := range []string{"", "127.0.0.1:80", "127.0.0.1:80=web:80", "80=80"} {
		if _, err := parseEntrance(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
