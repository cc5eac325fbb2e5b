package soak

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/hex"
	"strings"
)

// bystander is the agent that nothing is done to, nor may be.
const bystander = "bystander"

var agents = []string{bystander, "amber", "birch", "coral", "delta"}

// shaken are the agents that things are done to.
var shaken = agents[1:]

// version is a release of every agent.
type version struct {
	name   string
	good   bool   // it can be started and proves itself
	start  string // shell, in control start
	stop   string // shell, instead of what control stop does
	health string // shell, of control health
	app    string // shell, where the application begins
}

var versions = []version{
	{name: "1.0.0", good: true},
	{name: "1.0.1", good: true},
	{name: "1.0.2", good: true, start: "sleep 0.3"},
	{name: "1.0.3", good: true, stop: "echo 'I will not'; exit 1"},
	{name: "1.0.4", good: true, app: "trap '' TERM"},
	{name: "1.1.0", health: "echo 'queue full'; exit 1"},
	{name: "1.1.1", start: "echo 'no licence'; exit 1"},
	{name: "1.1.2", app: "echo 'segmentation fault'; note down; exit 3"},
}

func isGood(name string) bool {
	for _, v := range versions {
		if v.name == name {
			return v.good
		}
	}
	return false
}

// tarball is v of an agent; a forged one is what nobody released.
func (v version) tarball(agent, judge string, forged bool) (data []byte, digest string, err error) {
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	tw := tar.NewWriter(zw)
	app := v.app
	if forged {
		app = "note forged"
	}
	fill := strings.NewReplacer("@AGENT@", agent, "@JUDGE@", judge, "@START@", v.start, "@STOP@", stopOf(v), "@HEALTH@", healthOf(v), "@APP@", app)
	for _, f := range []struct{ name, text string }{{"control", fill.Replace(control)}, {"app", fill.Replace(application)}, {"ballast", strings.Repeat(v.name, 8<<10)}} {
		if err := tw.WriteHeader(&tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.text)), Typeflag: tar.TypeReg}); err != nil {
			return nil, "", err
		}
		if _, err := tw.Write([]byte(f.text)); err != nil {
			return nil, "", err
		}
	}
	if err := tw.Close(); err != nil {
		return nil, "", err
	}
	if err := zw.Close(); err != nil {
		return nil, "", err
	}
	sum := md5.Sum(buf.Bytes())
	return buf.Bytes(), hex.EncodeToString(sum[:]), nil
}

func stopOf(v version) string {
	if v.stop != "" {
		return v.stop
	}
	return "kill $(cat var/app.pid) 2>/dev/null\n\twhile running; do sleep 0.02; done"
}

func healthOf(v version) string {
	if v.health != "" {
		return v.health
	}
	return "running"
}

// control keeps its pid file on the disk that becomes full, as agents do: then it
// is empty, and the script denies what it has started.
const control = `#!/bin/sh
cd "${0%/*}" || exit 1
[ -d var ] || mkdir -p var
running() {
	pid=
	[ -s var/app.pid ] && { read -r pid <var/app.pid || [ -n "$pid" ]; } && { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || return 1
	case ${stat##*) } in Z*) return 1 ;; esac
}
case "$1" in
start)
	running && { echo "already running"; exit 1; }
	@START@
	nohup ./app >>var/app.log 2>&1 </dev/null &
	echo $! >var/app.pid
	;;
stop)
	@STOP@
	rm -f var/app.pid
	;;
status)
	if running; then echo started; else echo stoped; fi
	;;
pid)
	running && echo "$pid"
	;;
health)
	@HEALTH@
	;;
*)
	echo "usage: control start|stop|status|pid|health"
	;;
esac
`

// application tells the judge when it goes up and down, on a disk that is never
// full, and notices another one of its agent, wherever that lies.
const application = `#!/bin/sh
version=${PWD##*/}
note() { echo "$1 $version $$ $PWD" >>"@JUDGE@/@AGENT@.events"; }
exec 9>"@JUDGE@/@AGENT@.lock"
flock -w 0.3 9 || note two-at-once
trap 'note down; exit 0' TERM
note up
@APP@
while :; do
	sleep 0.5 9>&- &
	wait $!
done
`
