package kubelet

import (
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestStrengths(t *testing.T) {
	for _, each := range []struct {
		arguments []string
		strength  string
	}{
		{[]string{"--v=2", "--config=x"}, ""},
		{[]string{"--v=2", "--disable-cadvisor", "--config=x"}, statisticsOnly},
		{[]string{"--v=2", "--disable-cadvisor=all", "--config=x"}, all},
		{[]string{"--disable-cadvisor=statistics", "--v=2", "--disable-cadvisor=all", "--config=x"}, all},
	} {
		ours, rest := take(each.arguments)
		if strength := ours.strength; strength != each.strength || !slices.Equal(rest, []string{"--v=2", "--config=x"}) {
			t.Errorf("%q is %+v with %q", each.arguments, ours, rest)
		}
	}
}

func TestAnUnknownStrengthIsRefused(t *testing.T) {
	command := NewCommand(t.Context())
	command.SetArgs([]string{"--disable-cadvisor=some"})
	if err := command.Execute(); err == nil {
		t.Error("it is accepted")
	}
}

// Upstream ends if nobody listens where it expects the runtime, so it is not called before somebody does.
func TestTheRuntimeIsAwaited(t *testing.T) {
	ours, rest := take([]string{"--await=/run/runtime.sock", "--forward-ports=/run/ours.sock", "--config=x"})
	if ours.runtime != "/run/runtime.sock" || ours.forwarding != "/run/ours.sock" || !slices.Equal(rest, []string{"--config=x"}) {
		t.Fatalf("%+v with %q", ours, rest)
	}
	path := filepath.Join(t.TempDir(), "runtime.sock")
	over := make(chan struct{})
	go func() {
		awaitListener(t.Context(), path, time.Minute)
		close(over)
	}()
	select {
	case <-over:
		t.Fatal("nobody listens")
	case <-time.After(5 * runtimeTurn):
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	<-over
}

func TestTheRuntimeIsNotAwaitedForEver(t *testing.T) {
	awaitListener(t.Context(), filepath.Join(t.TempDir(), "absent.sock"), runtimeTurn)
}
