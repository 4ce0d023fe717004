package serviceproxy

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// The address that the tests' Service has.
const clusterIP, where = "127.43.0.10", "127.43.0.10:28080"

func TestConnectionsGoToTheEndpointsInTurn(t *testing.T) {
	p := newProxied(t)
	one, two := backend(t, "127.42.0.1", named("one")), backend(t, "127.42.0.2", named("two"))
	p.serve(service("web", clusterIP, "TCP", 28080), ready(one, two)...)
	if found := answers(t, where, 10); found["one"] != 5 || found["two"] != 5 {
		t.Fatalf("%v", found)
	}
}

func TestBytesArriveInBothDirectionsAndEachEndByItself(t *testing.T) {
	bothCopiers(t, func(t *testing.T, p *proxied) {
		p.serve(service("web", clusterIP, "TCP", 28080), ready(backend(t, "127.42.0.1", echo))...)
		sent := make([]byte, 5<<20)
		_, _ = rand.Read(sent)
		connection := connected(t, where)
		go func() {
			_, _ = connection.Write(sent)
			_ = connection.CloseWrite()
		}()
		// The backend ends only after our end: that this arrives there shows half-close.
		received, err := io.ReadAll(connection)
		if err != nil || !bytes.Equal(sent, received) {
			t.Fatalf("%d of %d bytes, %v", len(received), len(sent), err)
		}
	})
}

func TestAResetIsPassedOn(t *testing.T) {
	bothCopiers(t, func(t *testing.T, p *proxied) {
		seen := make(chan error, 1)
		p.serve(service("web", clusterIP, "TCP", 28080), ready(backend(t, "127.42.0.1", func(connection *net.TCPConn) {
			_, _ = io.WriteString(connection, "hello")
			_, err := io.ReadAll(connection)
			seen <- err
			connection.Close()
		}))...)
		connection := connected(t, where)
		_, _ = io.ReadFull(connection, make([]byte, 5))
		reset(connection)
		if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("the backend sees %v", err)
		}
	})
}

// isReset fails the test unless a connection is reset; that may be before it is seen to have been made.
func isReset(t *testing.T, where string) {
	t.Helper()
	connection, err := net.DialTimeout("tcp4", where, patience)
	if err == nil {
		defer connection.Close()
		_ = connection.SetDeadline(time.Now().Add(patience))
		_, err = io.ReadAll(connection)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the client sees %v", err)
	}
}

func TestABackendsResetIsPassedOn(t *testing.T) {
	p := newProxied(t)
	p.serve(service("web", clusterIP, "TCP", 28080), ready(backend(t, "127.42.0.1", reset))...)
	isReset(t, where)
}

func TestConnectionsThatFailLeaveNoDescriptors(t *testing.T) {
	bothCopiers(t, func(t *testing.T, p *proxied) {
		ended := make(chan struct{})
		p.serve(service("web", clusterIP, "TCP", 28080), ready(backend(t, "127.42.0.1", func(connection *net.TCPConn) {
			_, _ = io.WriteString(connection, "hello")
			_, _ = io.ReadAll(connection)
			connection.Close()
			ended <- struct{}{}
		}))...)
		const times = 4 * sparePipes
		before := descriptors(t)
		for range times {
			connection := connected(t, where)
			_, _ = io.ReadFull(connection, make([]byte, 5))
			reset(connection)
			<-ended
		}
		// Some pipes are kept for the next connections, and the last connections may still be there.
		if left := descriptors(t) - before; left > 2*sparePipes+16 {
			t.Fatalf("%d descriptors are left of %d connections", left, times)
		}
	})
}

// descriptors is how many this process has.
func descriptors(t *testing.T) int {
	t.Helper()
	found, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

func TestASlowReaderSlowsItsSender(t *testing.T) {
	bothCopiers(t, func(t *testing.T, p *proxied) {
		p.serve(service("web", clusterIP, "TCP", 28080), ready(backend(t, "127.42.0.1", func(connection *net.TCPConn) {
			defer connection.Close()
			_, _ = io.ReadFull(connection, make([]byte, 1)) // and nothing more, until the test has seen enough
			time.Sleep(patience)
		}))...)
		connection := connected(t, where)
		_ = connection.SetWriteDeadline(time.Now().Add(time.Second))
		sent, err := io.CopyN(connection, zeros{}, 1<<30)
		var late net.Error
		if !errors.As(err, &late) || !late.Timeout() {
			t.Fatalf("%d bytes were taken from a client whose backend reads none: %v", sent, err)
		}
	})
}

// zeros is an endless stream.
type zeros struct{}

func (zeros) Read(data []byte) (int, error) { return len(data), nil }

func TestWithoutEndpointsItRefusesAtOnce(t *testing.T) {
	p := newProxied(t)
	one := backend(t, "127.42.0.1", named("one"))
	web := service("web", clusterIP, "TCP", 28080)
	p.serve(web)
	refused(t, where)
	p.serve(web, ready(one)...)
	if asks(t, where) != "one" {
		t.Fatal("no answer")
	}
	p.serve(web)
	refused(t, where)
}

func TestADeletedServiceIsGone(t *testing.T) {
	p := newProxied(t)
	p.serve(service("web", clusterIP, "TCP", 28080), ready(backend(t, "127.42.0.1", named("one")))...)
	p.table.set(owner{name: "web"}, nil)
	refused(t, where)
	if len(p.table.fronts)+len(p.table.owners)+len(p.table.places) != 0 {
		t.Fatalf("something is left: %+v", p.table)
	}
}

func TestARemovedEndpointGetsNoNewConnectionAndOthersLiveOn(t *testing.T) {
	p := newProxied(t)
	one, two := backend(t, "127.42.0.1", echo), backend(t, "127.42.0.2", echo)
	web := service("web", clusterIP, "TCP", 28080)
	p.serve(web, ready(one, two)...)
	open := []*net.TCPConn{connected(t, where), connected(t, where)}
	for _, each := range open {
		say(t, each)
	}
	p.serve(web, ready(two)...)
	for _, each := range open {
		say(t, each)
	}
	p.serve(web)
	for _, each := range open {
		say(t, each)
	}
}

// say fails the test unless a connection to `echo` works.
func say(t *testing.T, connection *net.TCPConn) {
	t.Helper()
	if _, err := io.WriteString(connection, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(connection, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestAnEndpointThatRefusesIsPassedOver(t *testing.T) {
	p := newProxied(t)
	two := backend(t, "127.42.0.2", named("two"))
	p.serve(service("web", clusterIP, "TCP", 28080), ready(addrPort("127.42.0.9", 9), two)...)
	if found := answers(t, where, 4); found["two"] != 4 {
		t.Fatalf("%v", found)
	}
}

func TestWhenNoEndpointAnswersTheClientSeesAFailure(t *testing.T) {
	p := newProxied(t)
	p.serve(service("web", clusterIP, "TCP", 28080), ready(addrPort("127.42.0.9", 9))...)
	isReset(t, where)
}

func TestAnAddressOfAnotherProcessIsLeftToItAndTakenWhenItIsFree(t *testing.T) {
	p := newProxied(t)
	other, err := net.Listen("tcp4", where)
	if err != nil {
		t.Fatal(err)
	}
	p.serve(service("web", clusterIP, "TCP", 28080), ready(backend(t, "127.42.0.1", named("one")))...)
	p.table.retry()
	other.Close()
	refused(t, where)
	p.table.retry()
	if asks(t, where) != "one" {
		t.Fatal("no answer")
	}
}

func TestAServiceThatIsItsOwnEndpointIsSomebodyElses(t *testing.T) {
	p := newProxied(t)
	p.serve(service("dns", clusterIP, "TCP", 28080), ready(addrPort(clusterIP, 28080))...)
	refused(t, where)
}

func TestServicesInACircleFail(t *testing.T) {
	p := newProxied(t)
	p.serve(service("one", clusterIP, "TCP", 28080), ready(addrPort("127.43.0.11", 28080))...)
	p.serve(service("two", "127.43.0.11", "TCP", 28080), ready(addrPort(clusterIP, 28080))...)
	isReset(t, where)
}
