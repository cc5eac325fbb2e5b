// Command ops-meta says what the hosts of a fleet shall run, rolls it out and
// shows what every host does.
package main

import (
	"flag"
	"fmt"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
)

func main() {
	version := flag.Bool("version", false, "print the version and exit")
	flag.Parse()
	if *version {
		fmt.Println(buildinfo.Version())
	}
}
