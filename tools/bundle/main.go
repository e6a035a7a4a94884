// Command bundle joins the command line and the programs that it carries into
// one file: bundle OUT SAMPAN PROGRAM…
package main

import (
	"fmt"
	"os"

	"github.com/sampan-cloud/sampan/internal/front/bundle"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: bundle OUT SAMPAN PROGRAM...")
		os.Exit(2)
	}
	if err := bundle.Append(os.Args[1], os.Args[2], os.Args[3:]...); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}
