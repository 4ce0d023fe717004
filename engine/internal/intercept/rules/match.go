package rules

import (
	"bytes"
	"strconv"
	"strings"
)

// Set is the rules of one file, ready to match. None of its methods allocates memory.
type Set struct {
	Redirects []Redirection
	Statfs    []Type
	// ByType says that some statfs rule looks at the type that the kernel answers.
	ByType  bool
	Release *Release
	// Addresses are all rules about addresses.
	Addresses Addresses
	// OneID is the rule that there is one id only, or NoRule.
	OneID int
	// Rules is how many there are in the file.
	Rules int
}

// Redirection is a redirect rule, cut at its `*`.
type Redirection struct {
	Index        int // of the rule in the file, from 0
	OnlyExisting bool
	from, to     pattern
	inProcesses  bool // the `*` is a process in /proc
}

// Type is a statfs rule.
type Type struct {
	Index int
	Statfs
	MountPoint []byte
}

// Release is a uname rule.
type Release struct {
	Index int
	Name  string
}

// pattern is a path before and after its component `*`. Without one, everything is before it.
type pattern struct {
	before, after []byte
	star          bool
}

// Target is where paths that a Redirection matches are written.
type Target struct {
	buffer [2 * pathLimit]byte
	length int
}

// Bytes is the path that was written last. It is valid until the next match.
func (target *Target) Bytes() []byte {
	return target.buffer[:target.length]
}

// Terminated is Bytes with the final NUL of C.
func (target *Target) Terminated() []byte {
	target.buffer[target.length] = 0
	return target.buffer[:target.length+1]
}

func compile(file []Rule) *Set {
	set := &Set{OneID: NoRule, Rules: len(file)}
	for index, rule := range file {
		switch {
		case rule.Redirect != nil:
			from := cut(rule.Redirect.From)
			set.Redirects = append(set.Redirects, Redirection{
				Index:        index,
				OnlyExisting: rule.Redirect.OnlyExisting,
				from:         from,
				to:           cut(rule.Redirect.To),
				inProcesses:  from.star && string(from.before) == "/proc/",
			})
		case rule.Statfs != nil:
			set.Statfs = append(set.Statfs, Type{index, *rule.Statfs, []byte(rule.Statfs.Mount)})
			set.ByType = set.ByType || rule.Statfs.FromType != nil
		case rule.Uname != nil && set.Release == nil:
			set.Release = &Release{index, rule.Uname.Release}
		case rule.OneID != nil && set.OneID == NoRule:
			set.OneID = index
		default:
			set.Addresses.add(index, rule)
		}
	}
	return set
}

// ForRelease is the set with the one rule that gives another release.
func ForRelease(name string) *Set {
	return compile([]Rule{{Uname: &Uname{name}}})
}

func cut(name string) pattern {
	components := strings.Split(name, "/")
	for index, component := range components {
		if component == "*" {
			before := strings.Join(components[:index], "/") + "/"
			after := strings.Join(components[index+1:], "/")
			if after != "" {
				after = "/" + after
			}
			return pattern{[]byte(before), []byte(after), true}
		}
	}
	return pattern{before: []byte(name)}
}

// mounts is a symbolic link of the kernel's own to ownMounts (proc_pid_mounts(5)), and read more often than that.
const mounts = "/proc/mounts"

var ownMounts = []byte("/proc/self/mounts")

// Match writes to target where a clean, absolute path is redirected to by this rule. process is the pid that `self`
// means; lookup gives the process that a number in /proc means (a thread's is its process's).
func (redirection *Redirection) Match(name []byte, process int, lookup func(int) int, target *Target) bool {
	if redirection.inProcesses && string(name) == mounts {
		name = ownMounts
	}
	if !redirection.from.star {
		rest, ok := below(name, redirection.from.before)
		return ok && target.write(redirection.to.before, rest)
	}
	star, rest, ok := redirection.from.split(name)
	if !ok {
		return false
	}
	if redirection.inProcesses {
		number, ok := processOf(star, process, lookup)
		if !ok {
			return false
		}
		return redirection.to.fill(strconv.AppendInt(target.buffer[:0:20], int64(number), 10), rest, target)
	}
	return redirection.to.fill(star, rest, target)
}

// below returns what a path has after a prefix of whole components.
func below(name, prefix []byte) ([]byte, bool) {
	if len(prefix) == 1 {
		return name[1:], true
	}
	if !bytes.HasPrefix(name, prefix) {
		return nil, false
	}
	rest := name[len(prefix):]
	return rest, len(rest) == 0 || rest[0] == '/'
}

// split returns the component in the place of the `*`, and what follows the pattern.
func (pattern *pattern) split(name []byte) (star, rest []byte, ok bool) {
	if !bytes.HasPrefix(name, pattern.before) {
		return nil, nil, false
	}
	star = name[len(pattern.before):]
	if end := bytes.IndexByte(star, '/'); end >= 0 {
		star, rest = star[:end], star[end:]
	}
	if len(star) == 0 || !bytes.HasPrefix(rest, pattern.after) {
		return nil, nil, false
	}
	rest = rest[len(pattern.after):]
	return star, rest, len(rest) == 0 || rest[0] == '/'
}

// processOf reads a component of /proc: self, thread-self or a number.
func processOf(component []byte, process int, lookup func(int) int) (int, bool) {
	if string(component) == "self" || string(component) == "thread-self" {
		return process, true
	}
	number := 0
	for _, digit := range component {
		if digit < '0' || digit > '9' || number > 1<<24 {
			return 0, false
		}
		number = number*10 + int(digit-'0')
	}
	return lookup(number), true
}

// fill writes the pattern with star in the place of its `*`, and rest behind it. star may lie at the buffer's begin.
func (pattern *pattern) fill(star, rest []byte, target *Target) bool {
	if !pattern.star {
		return target.write(pattern.before, rest)
	}
	length := len(pattern.before) + len(star) + len(pattern.after) + len(rest)
	if length >= pathLimit {
		return false
	}
	place := copy(target.buffer[len(pattern.before):], star) + len(pattern.before)
	copy(target.buffer[:], pattern.before)
	place += copy(target.buffer[place:], pattern.after)
	copy(target.buffer[place:], rest)
	target.length = length
	return true
}

// write joins a prefix and the rest of a path; false where the result would be too long for the kernel.
func (target *Target) write(prefix, rest []byte) bool {
	if len(prefix) == 1 && len(rest) > 0 && rest[0] == '/' {
		prefix = prefix[:0]
	}
	if len(prefix)+len(rest)+1 >= pathLimit {
		return false
	}
	place := copy(target.buffer[:], prefix)
	if len(prefix) > 1 && len(rest) > 0 && rest[0] != '/' {
		place += copy(target.buffer[place:], "/")
	}
	target.length = place + copy(target.buffer[place:], rest)
	return true
}

// Below says whether this rule names a path, and a clean, absolute one is that or lies below it. An empty one does not.
func (statfs *Type) Below(name []byte) bool {
	length := len(statfs.Path)
	switch {
	case length == 0 || len(name) < length || string(name[:length]) != statfs.Path:
		return false
	case length == 1 || len(name) == length:
		return true
	}
	return name[length] == '/'
}

// TypeRule returns the first statfs rule that holds for a file system: one for the type that the kernel answers, or the
// rule that the file's name or device chose (by its place in Statfs; -1: none). nil where there is none.
func (set *Set) TypeRule(answered int64, chosen int) *Type {
	for place := range set.Statfs {
		rule := &set.Statfs[place]
		if place == chosen || rule.FromType != nil && *rule.FromType == answered {
			return rule
		}
	}
	return nil
}

// Needs says which kinds of calls the rules are about.
func (set *Set) Needs() (redirect, statfs, uname, address, identity bool) {
	return len(set.Redirects) > 0, len(set.Statfs) > 0, set.Release != nil, set.Addresses.Any(), set.OneID != NoRule
}
