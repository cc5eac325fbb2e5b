# shellcheck shell=sh disable=SC2154 # the variables in capitals are the server's, see above
#
# Installs the sidecar of this server on a host, and enrols it. Again it changes nothing
# but what differs. --help says the rest. All of it is one function, called at the very
# end: a script that did not arrive whole does nothing.

usage() {
	cat <<'EOT'
usage: sh install.sh [--dry-run] [--dir DIR] [--hostname NAME] [--no-start]

Installs ops-updater and enrols this host with the server that made this script.

  As root with systemd: /usr/bin/ops-updater, /etc/ops-updater/cfg.json,
  /var/lib/ops-updater and the unit ops-updater.service, as the packages have it.
  Otherwise, or with --dir, into one directory with ./control: /opt/ops-updater as
  root, ~/ops-updater as another user.

  --dry-run        say what would be done, and do nothing
  --dir DIR        into this directory, without systemd
  --hostname NAME  the name of this host, where it is not the system's
  --no-start       install and enrol, do not start
EOT
}

say() { printf 'install: %s\n' "$*"; }
die() {
	printf 'install: %s\n' "$1" >&2
	[ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2
	exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

platform() {
	os=$(uname -s) machine=$(uname -m)
	case $os in
	Linux) os=linux ;;
	Darwin) os=darwin ;;
	*) die "there is no ops-updater for $os" ;;
	esac
	case $machine in
	x86_64 | amd64) machine=amd64 ;;
	aarch64 | arm64) machine=arm64 ;;
	i?86) machine=386 ;;
	esac
	printf '%s_%s\n' "$os" "$machine"
}

# release ARCH sets version, digest and address.
release() {
	while read -r arch version digest address; do
		[ "$arch" != "$1" ] || return 0
	done <<EOT
$RELEASES
EOT
	die "$SERVER holds no ops-updater for $1" "publish one there: ops-meta publish ops-updater-VERSION.tar.gz --arch $1"
}

# fetch ADDRESS FILE
fetch() {
	if have curl; then
		curl -fsSL --proto '=http,https' ${CA:+--cacert "$tmp/ca.pem"} -o "$2" "$1"
	elif have wget; then
		wget -q ${CA:+--ca-certificate="$tmp/ca.pem"} -O "$2" "$1"
	else
		die "neither curl nor wget is here" "install one of them"
	fi
}

sum() {
	if have sha256sum; then sha256sum "$1"; elif have shasum; then shasum -a 256 "$1"; else openssl dgst -sha256 -r "$1"; fi | cut -c 1-64
}

# put FILE MODE PLACE: only when it differs, and at once.
put() {
	if cmp -s "$1" "$3"; then
		return 1
	fi
	if [ -n "$dry" ]; then
		say "would write $3"
		return 0
	fi
	if ! { mkdir -p "${3%/*}" && cp "$1" "$3.new" && chmod "$2" "$3.new" && mv "$3.new" "$3"; }; then
		die "cannot write $3"
	fi
	say "wrote $3"
}

main() {
	set -eu
	umask 022
	dry='' dir='' hostname='' start=yes
	while [ $# -gt 0 ]; do
		case $1 in
		--dry-run) dry=yes ;;
		--no-start) start='' ;;
		--dir | --hostname)
			[ $# -gt 1 ] || die "$1 wants a value"
			if [ "$1" = --dir ]; then dir=$2; else hostname=$2; fi
			shift
			;;
		-h | --help)
			usage
			exit 0
			;;
		*)
			usage >&2
			exit 2
			;;
		esac
		shift
	done
	case $dir in '' | /*) ;; *) dir=$PWD/$dir ;; esac

	id -un >/dev/null 2>&1 || die "number $(id -u) is no user of this host" "run this as root, or as a user that has a name here"
	arch=$(platform)
	release "$arch"
	systemd=''
	if [ -z "$dir" ]; then
		if [ "$(id -u)" = 0 ] && [ -d /run/systemd/system ]; then
			systemd=yes
		elif [ "$(id -u)" = 0 ]; then
			dir=/opt/ops-updater
		else
			dir=$HOME/ops-updater
		fi
	fi
	if [ -n "$systemd" ]; then
		program=/usr/bin/ops-updater config=/etc/ops-updater/cfg.json
		say "ops-updater $version for $arch from $SERVER into $program, $config and /var/lib/ops-updater, as a service of systemd"
	else
		program=$dir/ops-updater config=$dir/cfg.json
		say "ops-updater $version for $arch from $SERVER into $dir, with ./control"
	fi

	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 1' HUP INT TERM
	[ -z "$CA" ] || printf '%s\n' "$CA" >"$tmp/ca.pem"
	changed=''
	packaged=''
	if [ -n "$systemd" ] && { { have dpkg && dpkg -s ops-updater >/dev/null 2>&1; } || { have rpm && rpm -q ops-updater >/dev/null 2>&1; }; }; then
		packaged=yes
		say "the package ops-updater is installed, and stays as it is"
	elif [ -x "$program" ] && [ "$("$program" -v 2>/dev/null)" = "$version" ]; then
		say "$program is $version already"
	else
		fetch "$address" "$tmp/release.tar.gz" || die "cannot download $address" "see that this host reaches it"
		[ "$(sum "$tmp/release.tar.gz")" = "$digest" ] || die "what $address gave is not what the server has: another digest" "a proxy may have changed it; nothing was installed"
		mkdir "$tmp/release"
		tar -xzf "$tmp/release.tar.gz" -C "$tmp/release"
		chmod 0755 "$tmp/release/ops-updater"
		"$tmp/release/ops-updater" -v >/dev/null || die "$version does not run here"
		put "$tmp/release/ops-updater" 0755 "$program" && changed=yes
		if [ -z "$systemd" ]; then
			put "$tmp/release/control" 0755 "$dir/control" && changed=yes
		fi
	fi
	if [ -n "$systemd" ] && [ -z "$packaged" ]; then
		printf '%s\n' "$UNIT" >"$tmp/unit"
		put "$tmp/unit" 0644 /etc/systemd/system/ops-updater.service && changed=yes
	fi
	if [ -n "$systemd" ] && ! [ -e "$config" ]; then
		printf '{\n    "var_dir": "/var/lib/ops-updater",\n    "work_dir": "/opt/ops-agents"\n}\n' >"$tmp/cfg.json"
		put "$tmp/cfg.json" 0600 "$config" && changed=yes
		[ -n "$dry" ] || mkdir -p /opt/ops-agents
	fi
	ca=''
	if [ -n "$CA" ]; then
		ca=${config%/*}/ca.pem
		put "$tmp/ca.pem" 0644 "$ca" && changed=yes
	fi
	if [ -n "$dry" ]; then
		say "would enrol this host${start:+ and start the sidecar}"
		exit 0
	fi
	printf '%s\n' "$TOKEN" | "$program" -c "$config" enroll --server "$SERVER" --token-file - ${ca:+--ca-file "$ca"} ${hostname:+--hostname "$hostname"}
	if [ -z "$start" ]; then
		say "installed, and not started"
	elif [ -n "$systemd" ]; then
		[ -z "$changed" ] || systemctl daemon-reload
		systemctl enable --quiet ops-updater
		if [ -n "$changed" ]; then systemctl restart ops-updater; else systemctl start ops-updater; fi
		say "done: ops-updater -c $config status"
	else
		if [ -n "$changed" ] && [ "$("$dir/control" status)" = started ]; then
			"$dir/control" restart
		elif [ "$("$dir/control" status)" != started ]; then
			"$dir/control" start
		fi
		say "done: $program -c $config status"
		say "to have it start with the machine: @reboot $dir/control start, in a crontab"
	fi
}

main "$@"
