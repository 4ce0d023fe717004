package rules

import "bytes"

// WithoutIDs takes the options `uid=N` and `gid=N` with another id than 0 out of those of a mount, in place, and says
// whether there were any. Options are words between commas (mount(8)).
func WithoutIDs(options []byte) ([]byte, bool) {
	kept, first, found := options[:0], true, false
	for rest, more := options, true; more; {
		var option []byte
		option, rest, more = bytes.Cut(rest, []byte(","))
		if name, value, _ := bytes.Cut(option, []byte("=")); IsID(name) && IsOtherID(value) {
			found = true
			continue
		}
		if !first {
			kept = append(kept, ',')
		}
		kept, first = append(kept, option...), false
	}
	return kept, found
}

// IsID says whether a mount's option of this name is an id.
func IsID(name []byte) bool {
	return string(name) == "uid" || string(name) == "gid"
}

// IsOtherID says whether this is a number other than 0. What is no number is left to the kernel to refuse.
func IsOtherID(value []byte) bool {
	isOther := false
	for _, digit := range value {
		if digit < '0' || digit > '9' {
			return false
		}
		isOther = isOther || digit != '0'
	}
	return isOther
}
