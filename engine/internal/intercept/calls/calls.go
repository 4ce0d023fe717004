//go:build linux && amd64

// Package calls is the table of system calls that rules can concern: which argument is a path, which a directory, which a
// socket's address, which an owner. It knows neither rules nor how a call is caught.
package calls

import "golang.org/x/sys/unix"

// Kind says what a call means to the rules.
type Kind uint8

const (
	// Path calls name a file; redirect rules apply to them.
	Path Kind = iota + 1
	// Statfs is statfs(2): a path, and an answer that holds a file system's type.
	Statfs
	// Fstatfs is statfs of a descriptor.
	Fstatfs
	// Uname answers the kernel's release.
	Uname
	// Boundary calls may give a process another root directory, after which no rule about files applies to it.
	Boundary
	// Bind gives a socket its own address.
	Bind
	// Reach names the address at the other end, for a connection or a datagram.
	Reach
	// OwnName answers the address that a socket has.
	OwnName
	// PeerName answers the address at the other end.
	PeerName
	// Chown gives a file to an owner and a group.
	Chown
	// SetID takes on other users' or groups' ids.
	SetID
	// Mount has options as text.
	Mount
	// MountOption is one of them, for a mount that is made by several calls (fsconfig(2)).
	MountOption
)

// None stands for an argument that a call does not have.
const None = -1

// Call describes one system call by the positions of its arguments (0 to 5, or None).
type Call struct {
	Number    int
	Name      string
	Kind      Kind
	Directory int // a descriptor that relative paths begin at
	Path      int
	How       int // struct open_how of openat2(2)
	Answer    int // the buffer that the kernel fills
	// Address is a struct sockaddr. The next argument is its length, or the place of it where the kernel fills it.
	Address int
	// NotZero is an argument without which the call concerns no rule: send(2) and recv(2) are sendto(2) and recvfrom(2)
	// without an address, and far too frequent to be stopped.
	NotZero int
	// IDs is where ids of users and groups begin: an owner before its group, one's own, the text of a mount's options, or
	// the name of one before its value.
	IDs int
}

// NamesAddress says whether a socket's address is among the arguments.
func (call *Call) NamesAddress() bool {
	return call.Address != None
}

// NamesIDs says whether ids of users or groups may be among the arguments.
func (call *Call) NamesIDs() bool {
	return call.IDs != None
}

func path(number int, name string, position int) Call {
	return Call{number, name, Path, None, position, None, None, None, None, None}
}

func pathAt(number int, name string) Call {
	return Call{number, name, Path, 0, 1, None, None, None, None, None}
}

func boundary(number int, name string) Call {
	return Call{number, name, Boundary, None, None, None, None, None, None, None}
}

func address(number int, name string, kind Kind, position, notZero int) Call {
	return Call{number, name, kind, None, None, None, None, position, notZero, None}
}

func ids(number int, name string, kind Kind, position, notZero int) Call {
	return Call{number, name, kind, None, None, None, None, None, notZero, position}
}

// All is every call that some rule can need.
var All = []Call{
	path(unix.SYS_OPEN, "open", 0),
	path(unix.SYS_CREAT, "creat", 0),
	path(unix.SYS_STAT, "stat", 0),
	path(unix.SYS_LSTAT, "lstat", 0),
	path(unix.SYS_ACCESS, "access", 0),
	path(unix.SYS_READLINK, "readlink", 0),
	path(unix.SYS_TRUNCATE, "truncate", 0),
	path(unix.SYS_CHDIR, "chdir", 0),
	path(unix.SYS_EXECVE, "execve", 0),
	path(unix.SYS_GETXATTR, "getxattr", 0),
	path(unix.SYS_LGETXATTR, "lgetxattr", 0),
	pathAt(unix.SYS_OPENAT, "openat"),
	{unix.SYS_OPENAT2, "openat2", Path, 0, 1, 2, None, None, None, None},
	pathAt(unix.SYS_NEWFSTATAT, "newfstatat"),
	pathAt(unix.SYS_STATX, "statx"),
	pathAt(unix.SYS_FACCESSAT, "faccessat"),
	pathAt(unix.SYS_FACCESSAT2, "faccessat2"),
	pathAt(unix.SYS_READLINKAT, "readlinkat"),
	pathAt(unix.SYS_EXECVEAT, "execveat"),
	{unix.SYS_STATFS, "statfs", Statfs, None, 0, None, 1, None, None, None},
	{unix.SYS_FSTATFS, "fstatfs", Fstatfs, 0, None, None, 1, None, None, None},
	{unix.SYS_UNAME, "uname", Uname, None, None, None, 0, None, None, None},
	boundary(unix.SYS_CHROOT, "chroot"),
	boundary(unix.SYS_PIVOT_ROOT, "pivot_root"),
	boundary(unix.SYS_SETNS, "setns"),
	boundary(unix.SYS_UNSHARE, "unshare"),
	address(unix.SYS_BIND, "bind", Bind, 1, None),
	address(unix.SYS_CONNECT, "connect", Reach, 1, None),
	address(unix.SYS_SENDTO, "sendto", Reach, 4, 4),
	address(unix.SYS_GETSOCKNAME, "getsockname", OwnName, 1, None),
	address(unix.SYS_GETPEERNAME, "getpeername", PeerName, 1, None),
	address(unix.SYS_ACCEPT, "accept", PeerName, 1, 1),
	address(unix.SYS_ACCEPT4, "accept4", PeerName, 1, 1),
	address(unix.SYS_RECVFROM, "recvfrom", PeerName, 4, 4),
	ids(unix.SYS_CHOWN, "chown", Chown, 1, None),
	ids(unix.SYS_LCHOWN, "lchown", Chown, 1, None),
	ids(unix.SYS_FCHOWN, "fchown", Chown, 1, None),
	ids(unix.SYS_FCHOWNAT, "fchownat", Chown, 2, None),
	ids(unix.SYS_SETUID, "setuid", SetID, 0, None),
	ids(unix.SYS_SETGID, "setgid", SetID, 0, None),
	ids(unix.SYS_SETREUID, "setreuid", SetID, 0, None),
	ids(unix.SYS_SETREGID, "setregid", SetID, 0, None),
	ids(unix.SYS_SETRESUID, "setresuid", SetID, 0, None),
	ids(unix.SYS_SETRESGID, "setresgid", SetID, 0, None),
	ids(unix.SYS_SETFSUID, "setfsuid", SetID, 0, None),
	ids(unix.SYS_SETFSGID, "setfsgid", SetID, 0, None),
	ids(unix.SYS_SETGROUPS, "setgroups", SetID, 0, None),
	ids(unix.SYS_MOUNT, "mount", Mount, 4, 4),
	ids(unix.SYS_FSCONFIG, "fsconfig", MountOption, 2, 3),
}

// Limit is above every number in the table.
const Limit = 512

// ByNumber finds a call by its number; nil where no rule can concern it.
var ByNumber = func() (table [Limit]*Call) {
	for index := range All {
		table[All[index].Number] = &All[index]
	}
	return table
}()

// Needed returns the numbers of the calls that rules of these kinds need to see. With rules about files that includes
// boundary calls: the tracer keeps the answer to "which root directory has this thread".
func Needed(redirect, statfs, uname, address, identity bool) []int {
	var numbers []int
	for _, call := range All {
		needed := false
		switch call.Kind {
		case Path:
			needed = redirect
		case Boundary:
			needed = redirect || statfs || uname
		case Statfs:
			needed = redirect || statfs
		case Fstatfs:
			needed = statfs
		case Uname:
			needed = uname
		case Bind, Reach, OwnName, PeerName:
			needed = address
		case Chown, SetID, Mount, MountOption:
			needed = identity
		}
		if needed {
			numbers = append(numbers, call.Number)
		}
	}
	return numbers
}
