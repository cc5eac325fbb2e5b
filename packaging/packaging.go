// Package packaging holds what is put beside the programs on hosts: packages' files, and
// what the server hands out for hosts to install the sidecar with.
package packaging

import _ "embed" // files

// InstallScript installs the sidecar on a host and enrols it. It begins with what a server
// says, as assignments of shell variables: SERVER, TOKEN, CA, RELEASES and UNIT.
//
//go:embed install.sh
var InstallScript string

// SidecarUnit is the systemd unit of the sidecar, for the places of its packages.
//
//go:embed ops-updater/ops-updater.service
var SidecarUnit string
