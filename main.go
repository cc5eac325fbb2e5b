// Command ops-updater keeps this host's agents at the version that ops-meta
// wants.
package main

import (
	"flag"
	"fmt"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
)

func main() {
	version := flag.Bool("v", false, "print the version and exit")
	flag.Parse()
	if *version {
		fmt.Println(buildinfo.Version())
	}
}
