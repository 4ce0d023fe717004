//go:build linux && amd64

package intercept_test

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRulesEndAtAnotherRoot(t *testing.T) {
	each(t, func(trial *trial) {
		file := filepath.Join(trial.from, "file")
		trial.expect("redirected\n", program("chroot", file, trial.to)...)
	})
}

func TestRulesEndAtAnotherRootOfOneThread(t *testing.T) {
	each(t, func(trial *trial) {
		file := filepath.Join(trial.from, "file")
		trial.expect("redirected\nredirected\n", program("thread-chroot", file, trial.to)...)
	})
}

// TestRulesEndAtAContainer goes the way of a container's runtime: namespaces, pivot_root, exec.
func TestRulesEndAtAContainer(t *testing.T) {
	each(t, func(trial *trial) {
		trial.rule("uname", map[string]any{"release": "6.1.0-kins"})
		root := filepath.Join(trial.directory, "root")
		trial.must(os.MkdirAll(root, 0o755))
		script := `
			cat "$1/file"; uname -r
			mount --make-rprivate /; mount -t tmpfs tmpfs "$2"; cd "$2"
			mkdir -p old proc ".$1"; echo container > ".$1/file"
			for directory in bin sbin lib lib64 usr; do test -e /$directory && mkdir $directory && mount --rbind /$directory $directory; done
			pivot_root . old; cd /; mount -t proc proc proc; umount -l old
			cat "$1/file"; test "$(uname -r)" != 6.1.0-kins`
		trial.expect("redirected\n6.1.0-kins\ncontainer\n",
			"unshare", "--mount", "--pid", "--fork", "sh", "-euc", script, "sh", trial.from, root)
	})
}
