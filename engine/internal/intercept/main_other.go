//go:build !amd64

package intercept

import (
	"fmt"
	"os"
)

// Main says that there is nothing here: registers, numbers of calls and the filter are those of amd64.
func Main() int {
	fmt.Fprintln(os.Stderr, "kins-intercept: only for amd64")
	return 2
}
