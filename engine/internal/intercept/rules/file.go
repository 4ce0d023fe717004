// Package rules reads the rules file and answers which rule concerns a path, a file system, uname, an address or an
// identity. It touches no process and no file but the rules file.
package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"strings"
)

// Version is the only version of the rules file that there is.
const Version = 1

// releaseLimit is the longest release that fits into struct utsname with its final NUL (uname(2)).
const releaseLimit = 64

// pathLimit is PATH_MAX of Linux, the final NUL included.
const pathLimit = 4096

// File is the rules file as it is written: JSON, unknown keys refused.
type File struct {
	Version int    `json:"version"`
	Rules   []Rule `json:"rules"`
}

// Rule is exactly one of its members.
type Rule struct {
	Redirect *Redirect `json:"redirect,omitempty"`
	Statfs   *Statfs   `json:"statfs,omitempty"`
	Uname    *Uname    `json:"uname,omitempty"`
	Address  *Address  `json:"address,omitempty"`
	Own      *Own      `json:"own,omitempty"`
	Source   *Own      `json:"source,omitempty"`
	OneID    *OneID    `json:"one_id,omitempty"`
}

// Redirect answers for the path From and everything below it with what lies at To. Both may have one component `*`.
type Redirect struct {
	From         string `json:"from"`
	To           string `json:"to"`
	OnlyExisting bool   `json:"only_existing,omitempty"`
}

// Statfs gives another f_type to the files below Path, on the file system mounted at Mount, or of the type FromType.
type Statfs struct {
	Path     string `json:"path,omitempty"`
	Mount    string `json:"mount,omitempty"`
	FromType *int64 `json:"from_type,omitempty"`
	Type     int64  `json:"type"`
}

// Uname gives another kernel release.
type Uname struct {
	Release string `json:"release"`
}

// Address leads from the addresses of one range to those at the same places of another one, as large.
type Address struct {
	From netip.Prefix `json:"from"`
	To   netip.Prefix `json:"to"`
}

// Own is the address that stands for the wildcard address and for loopback; as Source it is only where connections come
// from.
type Own struct {
	Address netip.Addr `json:"address"`
}

// OneID answers changes to ids that do not exist as if they had been made.
type OneID struct{}

// Read returns the rules of a file, ready to match. Its errors say which rule is wrong.
func Read(name string) (*Set, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	set, err := Parse(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return set, nil
}

// Parse is Read for a file's content.
func Parse(content []byte) (*Set, error) {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	var file File
	if err := decoder.Decode(&file); err != nil {
		return nil, err
	}
	if decoder.More() {
		return nil, errors.New("there is something after the rules")
	}
	if file.Version != Version {
		return nil, fmt.Errorf("version %d is not known, only %d", file.Version, Version)
	}
	return Compile(file.Rules)
}

// Compile is Read for rules that are no file.
func Compile(rules []Rule) (*Set, error) {
	for index := range rules {
		if err := rules[index].validate(); err != nil {
			return nil, fmt.Errorf("rule %d: %w", index+1, err)
		}
	}
	return compile(rules), nil
}

func (rule *Rule) validate() error {
	members := 0
	var err error
	if rule.Redirect != nil {
		members, err = members+1, rule.Redirect.validate()
	}
	if rule.Statfs != nil {
		members, err = members+1, rule.Statfs.validate()
	}
	if rule.Uname != nil {
		members, err = members+1, rule.Uname.validate()
	}
	if rule.Address != nil {
		members, err = members+1, rule.Address.validate()
	}
	for _, own := range []*Own{rule.Own, rule.Source} {
		if own != nil {
			members, err = members+1, own.validate()
		}
	}
	if rule.OneID != nil {
		members++
	}
	if members != 1 {
		return errors.New("a rule is one of redirect, statfs, uname, address, own, source, one_id")
	}
	return err
}

func (address *Address) validate() error {
	for _, given := range []netip.Prefix{address.From, address.To} {
		if !given.Addr().Is4() || given.Masked() != given {
			return fmt.Errorf("not a range of IPv4 addresses: %s", given)
		}
	}
	if address.From.Bits() != address.To.Bits() {
		return fmt.Errorf("%s and %s are not of the same size", address.From, address.To)
	}
	return nil
}

func (own *Own) validate() error {
	if !own.Address.Is4() || own.Address.IsUnspecified() {
		return fmt.Errorf("no IPv4 address: %s", own.Address)
	}
	return nil
}

func (redirect *Redirect) validate() error {
	if err := errors.Join(checkPath(redirect.From), checkPath(redirect.To)); err != nil {
		return err
	}
	from, to := stars(redirect.From), stars(redirect.To)
	if from > 1 || to > from {
		return errors.New("from may have one component `*`, and to only if from has it")
	}
	return nil
}

func (statfs *Statfs) validate() error {
	members := 0
	if statfs.Path != "" {
		members++
	}
	if statfs.Mount != "" {
		members++
	}
	if statfs.FromType != nil {
		members++
	}
	if members != 1 {
		return errors.New("statfs needs one of path, mount, from_type")
	}
	if statfs.FromType != nil {
		return nil
	}
	if stars(statfs.Path)+stars(statfs.Mount) > 0 {
		return errors.New("statfs knows no `*`")
	}
	return checkPath(statfs.Path + statfs.Mount)
}

func (uname *Uname) validate() error {
	if uname.Release == "" || len(uname.Release) > releaseLimit || strings.Contains(uname.Release, "\x00") {
		return fmt.Errorf("a release has 1 to %d characters", releaseLimit)
	}
	return nil
}

// checkPath refuses what lexical matching could not mean: relative paths, `..`, doubled or final slashes.
func checkPath(name string) error {
	if !path.IsAbs(name) || path.Clean(name) != name || strings.Contains(name, "\x00") || len(name) >= pathLimit {
		return fmt.Errorf("not an absolute, clean path: %q", name)
	}
	return nil
}

// stars counts the components that are `*`.
func stars(name string) int {
	count := 0
	for component := range strings.SplitSeq(name, "/") {
		if component == "*" {
			count++
		}
	}
	return count
}
