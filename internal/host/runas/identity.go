package runas

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"

	"github.com/ops-updater/ops-updater/internal/username"
)

// Identity is a user as the system knows it.
type Identity struct {
	Name   string
	Home   string
	UID    int
	GID    int
	Groups []uint32 // all groups, the primary one included
}

// Env is the clean environment commands of this user get.
func (id Identity) Env() []string {
	lang := os.Getenv("LANG")
	if lang == "" {
		lang = "C.UTF-8"
	}
	return []string{"HOME=" + id.Home, "USER=" + id.Name, "LOGNAME=" + id.Name, "PATH=" + DefaultPath, "LANG=" + lang}
}

// ErrUnknownUser is in the chain of an error about a user that does not exist.
var ErrUnknownUser = errors.New("unknown user")

// Lookup finds a user, the own one for an empty name. Users and groups that
// only a directory service knows are found with getent and id, because this
// program links no C library.
func Lookup(ctx context.Context, name string) (Identity, error) {
	if name == "" {
		return ownIdentity(ctx)
	}
	if !username.Valid(name) {
		return Identity{}, fmt.Errorf("cannot run as %q: not a user name", name)
	}
	u, err := user.Lookup(name)
	if err != nil {
		u, err = fromDirectory(ctx, name)
	}
	if errors.Is(err, errNoAnswer) {
		return Identity{}, &Error{User: name, Why: "whether the user exists cannot be told", Err: err}
	}
	if err != nil {
		return Identity{}, &Error{User: name, Why: fmt.Sprintf("the user does not exist: create it (useradd --system --user-group --create-home %s) or set create_users to true", name), Err: ErrUnknownUser}
	}
	return identityOf(ctx, u)
}

func ownIdentity(ctx context.Context) (Identity, error) {
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		u, err = user.Current()
	}
	if err != nil {
		return Identity{}, fmt.Errorf("cannot find the own user: %w", err)
	}
	return identityOf(ctx, u)
}

func identityOf(ctx context.Context, u *user.User) (Identity, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return Identity{}, fmt.Errorf("cannot use user %s: uid %q is not a number", u.Username, u.Uid)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return Identity{}, fmt.Errorf("cannot use user %s: gid %q is not a number", u.Username, u.Gid)
	}
	id := Identity{Name: u.Username, Home: u.HomeDir, UID: int(uid), GID: int(gid), Groups: []uint32{uint32(gid)}}
	if MethodFor(os.Geteuid(), id.UID) != Setuid {
		return id, nil // groups are the kernel's or sudo's business
	}
	id.Groups, err = groupsOf(ctx, u)
	if err != nil {
		return Identity{}, fmt.Errorf("cannot find the groups of %s: %w", u.Username, err)
	}
	return id, nil
}
