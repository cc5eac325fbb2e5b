package updater

import (
	"bufio"
	"context"
	"net"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// hostFacts are what a heartbeat says about the host and stays the same until
// the next boot.
type hostFacts struct {
	user     string
	bootID   string
	bootTime int64 // Unix seconds; 0: unknown
}

func readHostFacts() hostFacts {
	f := hostFacts{user: currentUser()}
	if id, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		f.bootID = strings.TrimSpace(string(id))
	}
	f.bootTime = bootTime("/proc/stat")
	return f
}

func currentUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}

// bootTime reads the line "btime 1795222683" of /proc/stat.
func bootTime(path string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "btime "); ok {
			n, _ := strconv.ParseInt(value, 10, 64)
			return n
		}
	}
	return 0
}

// localAddress is the address this host uses towards the first server that can
// be looked up. Nothing is sent: a datagram socket only picks its route.
func localAddress(ctx context.Context, servers []string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, s := range servers {
		base, err := meta.ServerURL(s)
		if err != nil {
			continue
		}
		u, err := url.Parse(base)
		if err != nil {
			continue
		}
		port := u.Port()
		if port == "" {
			port = "80"
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "udp", net.JoinHostPort(u.Hostname(), port))
		if err != nil {
			continue
		}
		host, _, err := net.SplitHostPort(conn.LocalAddr().String())
		_ = conn.Close()
		if err == nil {
			return host
		}
	}
	return ""
}
