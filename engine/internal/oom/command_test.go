package oom

import (
	"bytes"
	"strings"
	"testing"
)

func TestContainerOf(t *testing.T) {
	for group, expected := range map[string]string{
		"0123abcd":                      "0123abcd",
		"cri-containerd-0123abcd.scope": "0123abcd",
	} {
		if found := containerOf(group); found != expected {
			t.Errorf("containerOf(%q) = %q, not %q", group, found, expected)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, arguments := range [][]string{{}, {"--address", "x"}, {"one"}, {"--unknown"}, {"--address", "x", "a", "b"}} {
		var said bytes.Buffer
		if code := Main(arguments, &said); code != 2 || !strings.Contains(said.String(), "usage: oom") {
			t.Errorf("%q: exit %d, %s", arguments, code, said.String())
		}
	}
}

func TestNobodyListens(t *testing.T) {
	var said bytes.Buffer
	arguments := []string{"--address", t.TempDir() + "/none.sock", "--timeout", "100ms", "one"}
	if code := Main(arguments, &said); code != 1 || !strings.HasPrefix(said.String(), "error: telling containerd of one: ") {
		t.Errorf("exit %d, %s", code, said.String())
	}
}
