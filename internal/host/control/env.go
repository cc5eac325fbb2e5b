package control

import (
	"os"
	"os/user"
)

// searchPath is the PATH of control scripts, unless cfg.json sets another.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Environment is the environment of control scripts: HOME, USER, LOGNAME, PATH
// and LANG, then extra, whose entries (KEY=value) win. Nothing is inherited
// but LANG, so that an agent behaves the same however the sidecar was started.
func Environment(extra []string) []string {
	lang := os.Getenv("LANG")
	if lang == "" {
		lang = "C.UTF-8"
	}
	env := []string{"PATH=" + searchPath, "LANG=" + lang}
	if u, err := user.Current(); err == nil {
		env = append(env, "HOME="+u.HomeDir, "USER="+u.Username, "LOGNAME="+u.Username)
	}
	return append(env, extra...)
}
