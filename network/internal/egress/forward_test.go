package egress

import (
	"io"
	"net"
	"testing"
	"time"
)

func TestAssociationsEndWhenNothingComes(t *testing.T) {
	asking, near := net.Pipe()
	far, answering := net.Pipe()
	const idle = time.Second // a busy machine sleeps longer than it should
	ended := make(chan struct{})
	began := time.Now()
	go func() {
		associate(near, far, idle)
		close(ended)
	}()
	// Something comes, from one side alone, for longer than it may be silent.
	for range 4 {
		time.Sleep(idle * 3 / 10)
		if _, err := asking.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		if size, err := answering.Read(make([]byte, 16)); err != nil || size != len("question") {
			t.Fatalf("%d bytes arrived, %v", size, err)
		}
	}
	select {
	case <-ended:
		if lasted := time.Since(began); lasted < 2*idle {
			t.Errorf("it ended after %v, while datagrams came", lasted)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on without any datagram")
	}
	if _, err := answering.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the far end is open: %v", err)
	}
}

func TestQuestionsForNamesAreForgottenSooner(t *testing.T) {
	if idleOf(53) >= idleOf(54) {
		t.Errorf("%v for DNS, %v for others", idleOf(53), idleOf(54))
	}
}
