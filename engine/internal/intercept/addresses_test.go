//go:build linux && amd64

package intercept_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// server is a program under the interception that listens, and has said so.
type server struct {
	*exec.Cmd
	lines *bufio.Scanner
}

// line is what it prints next.
func (server *server) line(trial *trial) string {
	trial.Helper()
	if !server.lines.Scan() {
		trial.Fatalf("%v has nothing more to say", server.Args)
	}
	return server.lines.Text()
}

// addressTrial is a trial whose programs have an address of their own, out of a range that leads to loopback's.
func addressTrial(t *testing.T, own string) *trial {
	t.Helper()
	t.Parallel()
	trial := newTrial(t, "ptrace")
	trial.rules = nil
	trial.rule("address", map[string]any{"from": "10.42.0.0/16", "to": "127.42.0.0/16"})
	if own != "" {
		trial.rule("own", map[string]any{"address": own})
	}
	return trial
}

// serve starts a server that prints its own address first, which must be this one.
func (trial *trial) serve(wanted string, arguments ...string) *server {
	trial.Helper()
	limited, cancel := context.WithTimeout(context.Background(), patience)
	trial.Cleanup(cancel)
	started := &server{Cmd: trial.command(limited, arguments...)}
	output, err := started.StdoutPipe()
	trial.must(err)
	started.Stderr = os.Stderr
	trial.must(started.Start())
	trial.Cleanup(func() { cancel(); _ = started.Wait() })
	started.lines = bufio.NewScanner(output)
	if found := started.line(trial); found != wanted {
		trial.Fatalf("it listens on %s and not on %s", found, wanted)
	}
	return started
}

// freePort is one that nobody has on any address now.
func (trial *trial) freePort() string {
	trial.Helper()
	listener, err := net.Listen("tcp", ":0")
	trial.must(err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	trial.must(err)
	return port
}

func answerOnce(arguments []string) int {
	listener, err := net.Listen(arguments[0], arguments[1])
	if err != nil {
		return report(err)
	}
	fmt.Println(listener.Addr())
	client, err := listener.Accept()
	if err != nil {
		return report(err)
	}
	host, _, err := net.SplitHostPort(client.RemoteAddr().String())
	fmt.Println(host)
	fmt.Fprintf(client, "for %s", host)
	client.Close()
	return report(err)
}

// ask prints what a server says, and the address that it is asked at.
func ask(arguments []string) int {
	connection, err := net.Dial(arguments[0], arguments[1])
	if err != nil {
		return report(err)
	}
	said, err := io.ReadAll(connection)
	fmt.Printf("%s %s\n", connection.RemoteAddr(), said)
	return report(err)
}

func echoDatagram(arguments []string) int {
	socket, err := net.ListenPacket("udp", arguments[0])
	if err != nil {
		return report(err)
	}
	fmt.Println(socket.LocalAddr())
	data := make([]byte, 100)
	count, from, err := socket.ReadFrom(data)
	if err != nil {
		return report(err)
	}
	_, err = socket.WriteTo(data[:count], from)
	return report(err)
}

// askDatagram sends from a socket that has no other end, and prints who answers.
func askDatagram(arguments []string) int {
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return report(err)
	}
	to, err := net.ResolveUDPAddr("udp4", arguments[0])
	if err == nil {
		_, err = socket.WriteTo([]byte("hello"), to)
	}
	if err != nil {
		return report(err)
	}
	_ = socket.SetReadDeadline(time.Now().Add(patience))
	data := make([]byte, 100)
	count, from, err := socket.ReadFrom(data)
	fmt.Printf("%s %s\n", from, data[:count])
	return report(err)
}

func TestTwoServersOnOnePort(t *testing.T) {
	for _, network := range []string{"tcp", "tcp4"} {
		t.Run(network, func(t *testing.T) {
			first, second := addressTrial(t, "127.42.1.2"), newTrial(t, "ptrace")
			second.rules = append(first.rules[:1:1], map[string]any{"own": map[string]any{"address": "127.42.1.3"}})
			port := first.freePort()
			serverOf := func(trial *trial, address string) *server {
				return trial.serve(address+":"+port, program("answer-once", network, ":"+port)...)
			}
			one, two := serverOf(first, "10.42.1.2"), serverOf(second, "10.42.1.3")
			first.expect("10.42.1.3:"+port+" for 10.42.1.2\n", program("ask", "tcp", "10.42.1.3:"+port)...)
			second.expect("10.42.1.2:"+port+" for 10.42.1.3\n", program("ask", "tcp", "10.42.1.2:"+port)...)
			if from := one.line(first); from != "10.42.1.3" {
				t.Errorf("the first one was asked by %s", from)
			}
			if from := two.line(second); from != "10.42.1.2" {
				t.Errorf("the second one was asked by %s", from)
			}
		})
	}
}

func TestLocalhostIsOnesOwn(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "[::1]"} {
		t.Run(address, func(t *testing.T) {
			trial := addressTrial(t, "127.42.2.2")
			port := trial.freePort()
			trial.serve("10.42.2.2:"+port, program("answer-once", "tcp4", "127.0.0.1:"+port)...)
			if _, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
				t.Error("it is everybody's")
			}
			trial.expect("127.0.0.1:"+port+" for 127.0.0.1\n", program("ask", "tcp", address+":"+port)...)
		})
	}
}

// TestIPv6BesideIPv4 has a server on both, as many have by default, each with a socket of its own.
func TestIPv6BesideIPv4(t *testing.T) {
	trial := addressTrial(t, "127.42.3.2")
	port := trial.freePort()
	trial.serve("10.42.3.2:"+port, program("answer-once", "tcp4", ":"+port)...)
	limited, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	six := trial.command(limited, program("answer-once", "tcp6", "[::]:"+port)...)
	output, err := six.StdoutPipe()
	trial.must(err)
	var complaint strings.Builder
	six.Stderr = &complaint
	trial.must(six.Start())
	line, err := bufio.NewReader(output).ReadString('\n')
	cancel()
	_ = six.Wait() // after which it has said all
	if err != nil || !strings.HasPrefix(line, "[::1]:") || line == "[::1]:"+port+"\n" {
		t.Errorf("the one for IPv6 listens on %q: %v; it says %q", line, err, &complaint)
	}
}

func TestAPortOfTheKernelsChoiceIsEverywhere(t *testing.T) {
	trial := addressTrial(t, "127.42.4.2")
	limited, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	command := trial.command(limited, program("answer-once", "tcp4", ":0")...)
	output, err := command.StdoutPipe()
	trial.must(err)
	trial.must(command.Start())
	defer func() { cancel(); _ = command.Wait() }()
	line, err := bufio.NewReader(output).ReadString('\n')
	trial.must(err)
	host, port, err := net.SplitHostPort(strings.TrimSpace(line))
	if err != nil || host != "0.0.0.0" {
		t.Fatalf("it listens on %q: %v", line, err)
	}
	trial.expect("127.0.0.1:"+port+" for 127.0.0.1\n", program("ask", "tcp4", "10.42.4.2:"+port)...)
}

func TestDatagrams(t *testing.T) {
	first, second := addressTrial(t, "127.42.5.2"), newTrial(t, "ptrace")
	second.rules = append(first.rules[:1:1], map[string]any{"own": map[string]any{"address": "127.42.5.3"}})
	port := first.freePort()
	first.serve("10.42.5.2:"+port, program("echo-datagram", "0.0.0.0:"+port)...)
	second.expect("10.42.5.2:"+port+" hello\n", program("ask-datagram", "10.42.5.2:"+port)...)
}

// TestASourceAlone leaves the wildcard address and localhost as they are.
func TestASourceAlone(t *testing.T) {
	trial := addressTrial(t, "")
	trial.rule("source", map[string]any{"address": "127.42.0.1"})
	port := trial.freePort()
	trial.serve("0.0.0.0:"+port, program("answer-once", "tcp4", ":"+port)...)
	trial.expect("10.42.6.2:"+port+" for 10.42.0.1\n", program("ask", "tcp", "10.42.6.2:"+port)...)
}

func TestNotifyKnowsNoAddresses(t *testing.T) {
	trial := addressTrial(t, "")
	trial.backend = "notify"
	done := trial.run("true")
	if done.status.ExitStatus() != 2 || !strings.Contains(done.stderr, "notify knows no rules about addresses") {
		t.Errorf("exit %d: %s", done.status.ExitStatus(), done.stderr)
	}
}
