package rules

import (
	"strings"
	"testing"
)

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"another version":  `{"version": 2, "rules": []}`,
		"an unknown key":   `{"version": 1, "rules": [{"uname": {"release": "1", "name": "x"}}]}`,
		"two in one":       `{"version": 1, "rules": [{"uname": {"release": "1"}, "statfs": {"path": "/", "type": 1}}]}`,
		"nothing in one":   `{"version": 1, "rules": [{}]}`,
		"a relative path":  `{"version": 1, "rules": [{"redirect": {"from": "a", "to": "/b"}}]}`,
		"dots":             `{"version": 1, "rules": [{"redirect": {"from": "/a/../b", "to": "/b"}}]}`,
		"a final slash":    `{"version": 1, "rules": [{"redirect": {"from": "/a/", "to": "/b"}}]}`,
		"two stars":        `{"version": 1, "rules": [{"redirect": {"from": "/*/*", "to": "/b"}}]}`,
		"a star too many":  `{"version": 1, "rules": [{"redirect": {"from": "/a", "to": "/*"}}]}`,
		"two conditions":   `{"version": 1, "rules": [{"statfs": {"path": "/", "mount": "/", "type": 1}}]}`,
		"no condition":     `{"version": 1, "rules": [{"statfs": {"type": 1}}]}`,
		"a long release":   `{"version": 1, "rules": [{"uname": {"release": "` + strings.Repeat("1", 65) + `"}}]}`,
		"a single address": `{"version": 1, "rules": [{"address": {"from": "10.42.0.1/16", "to": "127.42.0.0/16"}}]}`,
		"another size":     `{"version": 1, "rules": [{"address": {"from": "10.42.0.0/16", "to": "127.0.0.0/8"}}]}`,
		"a wildcard":       `{"version": 1, "rules": [{"own": {"address": "0.0.0.0"}}]}`,
		"IPv6":             `{"version": 1, "rules": [{"source": {"address": "::1"}}]}`,
		"more after it":    `{"version": 1, "rules": []} {}`,
		"half of it":       `{"version": 1`,
	} {
		if set, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s: %+v", name, set)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, test := range []struct{ from, to, name, wanted string }{
		{"/a/b", "/c", "/a/b", "/c"},
		{"/a/b", "/c", "/a/b/d", "/c/d"},
		{"/a/b", "/c", "/a/b/", "/c/"},
		{"/a/b", "/c", "/a/bc", ""},
		{"/a/b", "/c", "/a", ""},
		{"/", "/c", "/", "/c"},
		{"/", "/c", "/a/b", "/c/a/b"},
		{"/a", "/", "/a", "/"},
		{"/a", "/", "/a/b", "/b"},
		{"/proc/*/cgroup", "/c/*/d", "/proc/self/cgroup", "/c/42/d"},
		{"/proc/*/cgroup", "/c/*/d", "/proc/thread-self/cgroup", "/c/42/d"},
		{"/proc/*/cgroup", "/c/*/d", "/proc/7/cgroup", "/c/70/d"},
		{"/proc/*/cgroup", "/c/*", "/proc/7/cgroup", "/c/70"},
		{"/proc/*/cgroup", "/c", "/proc/7/cgroup", "/c"},
		{"/proc/*/cgroup", "/c/*/d", "/proc/sys/cgroup", ""},
		{"/proc/*/cgroup", "/c/*/d", "/proc/7/cgroups", ""},
		{"/proc/*/cgroup", "/c/*/d", "/proc/7/task/8/cgroup", ""},
		{"/proc/*", "/c/*", "/proc/self/status", "/c/42/status"},
		{"/a/*/b", "/*", "/a/any/b/c", "/any/c"},
		{"/a/*/b", "/*", "/a//b", ""},
	} {
		set, err := Parse([]byte(`{"version": 1, "rules": [{"redirect": {"from": "` + test.from + `", "to": "` + test.to + `"}}]}`))
		if err != nil {
			t.Fatal(err)
		}
		var target Target
		answer := ""
		if set.Redirects[0].Match([]byte(test.name), 42, func(number int) int { return 10 * number }, &target) {
			answer = string(target.Bytes())
		}
		if answer != test.wanted {
			t.Errorf("%s to %s, %s: %q instead of %q", test.from, test.to, test.name, answer, test.wanted)
		}
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	set, err := Parse([]byte(`{"version": 1, "rules": [{"redirect": {"from": "/proc/*/cgroup", "to": "/c/*/d"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	target, name, lookup := &Target{}, []byte("/proc/7/cgroup"), func(number int) int { return number }
	if count := testing.AllocsPerRun(100, func() { set.Redirects[0].Match(name, 42, lookup, target) }); count != 0 {
		t.Errorf("%v allocations", count)
	}
}

func TestTooLongForTheKernel(t *testing.T) {
	set, err := Parse([]byte(`{"version": 1, "rules": [{"redirect": {"from": "/a", "to": "/` + strings.Repeat("b", 200) + `"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var target Target
	if set.Redirects[0].Match([]byte("/a/"+strings.Repeat("c", pathLimit-100)), 1, nil, &target) {
		t.Errorf("%d bytes", len(target.Bytes()))
	}
}
