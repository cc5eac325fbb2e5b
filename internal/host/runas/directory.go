package runas

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lookupTimeout bounds a directory service that does not answer.
const lookupTimeout = 5 * time.Second

// errNoAnswer: whether there is such a user cannot be told now.
var errNoAnswer = fmt.Errorf("no answer within %s from the directory service: see that it can be reached (sssd, nslcd, /etc/nsswitch.conf)", lookupTimeout)

// fromDirectory finds a user that is not in /etc/passwd.
func fromDirectory(ctx context.Context, name string) (*user.User, error) {
	out, err := askDirectory(ctx, "getent", "passwd", name)
	if err != nil {
		return nil, err
	}
	return parsePasswd(name, out)
}

// parsePasswd reads one line of passwd(5).
func parsePasswd(name, line string) (*user.User, error) {
	f := strings.Split(strings.TrimSpace(line), ":")
	if len(f) != 7 || f[0] != name {
		return nil, fmt.Errorf("getent gave %q for user %s", line, name)
	}
	return &user.User{Username: f[0], Uid: f[2], Gid: f[3], HomeDir: f[5]}, nil
}

// groupsOf asks id, which knows every source of groups, and falls back to
// /etc/group where id is missing or does not answer.
func groupsOf(ctx context.Context, u *user.User) ([]uint32, error) {
	var words []string
	if out, err := askDirectory(ctx, "id", "-G", u.Username); err == nil {
		words = strings.Fields(out)
	} else if words, err = u.GroupIds(); err != nil {
		return nil, err
	}
	return parseGroups(append([]string{u.Gid}, words...))
}

// parseGroups turns group ids into numbers, each once.
func parseGroups(words []string) ([]uint32, error) {
	var groups []uint32
	for _, w := range words {
		n, err := strconv.ParseUint(w, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("group id %q is not a number", w)
		}
		if !slices.Contains(groups, uint32(n)) {
			groups = append(groups, uint32(n))
		}
	}
	return groups, nil
}

// toolEnv is the environment of the system's own programs: nothing of those who
// started the sidecar but where programs are.
func toolEnv() []string {
	path := os.Getenv("PATH")
	if path == "" {
		path = DefaultPath
	}
	return []string{"PATH=" + path, "LC_ALL=C"}
}

// askDirectory runs a small system program, within bounds, and gives its output.
func askDirectory(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = toolEnv()
	out := NewExcerpt(64 << 10)
	cmd.Stdout = out
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil { // it was we who did not wait longer
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), errNoAnswer)
	}
	if err != nil {
		return "", fmt.Errorf("cannot run %s: %w", name, err)
	}
	return out.String(), nil
}
