#!/bin/sh
# Installs CRIU, which checkpoints containers, unless a version that works on
# today's kernels is there.
#
# Debian 12 has one that is too old, and a newer one needs a newer libc. So where
# the distribution has none, that of a newer Debian goes into a directory of its
# own together with its libraries, and nothing else on the machine changes.
# Packages come from the machine's own mirror, checked by apt as any other.
set -eu
release=forky
dir=/usr/local/lib/criu
program=/usr/local/sbin/criu

# 4.1 is the first that knows today's memory layout; on Linux 6.16 and newer,
# older ones than 4.2 cannot read TCP sockets.
oldest=4.1
if [ "$(printf '%s\n' 6.16 "$(uname -r | cut -d- -f1)" | sort -V | head -n 1)" = 6.16 ]; then oldest=4.2; fi

works() {
	v=$("$1" --version 2>/dev/null | sed -n 's/^Version: *//p') || return 1
	[ -n "$v" ] && dpkg --compare-versions "$v" ge "$oldest"
}
if ! command -v dpkg >/dev/null || ! command -v apt-get >/dev/null; then
	criu --version >/dev/null 2>&1 && exit 0
	echo "checkpoints need CRIU $oldest or newer, and there is no apt-get to install it" >&2
	exit 1
fi
if works "$(command -v criu || echo criu)" || works "$program"; then exit 0; fi
if [ "$(id -u)" -ne 0 ]; then
	echo "checkpoints need CRIU $oldest or newer; install it as root" >&2
	exit 1
fi
echo "installing CRIU"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
candidate=$(apt-cache policy criu 2>/dev/null | sed -n 's/^ *Candidate: *//p')
if [ -n "$candidate" ] && [ "$candidate" != "(none)" ] && dpkg --compare-versions "$candidate" ge "$oldest"; then
	"$(dirname "$0")/install-packages.sh" criu
	exit
fi

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' 2>/dev/null | grep '/debian/*$' | head -n 1)
if [ -z "$mirror" ]; then
	echo "checkpoints need CRIU $oldest or newer; this distribution has none, and no mirror of Debian is among apt's sources: install it by hand" >&2
	exit 1
fi
mkdir -p "$tmp/lists/partial" "$tmp/archives/partial" "$tmp/root"
: >"$tmp/status" # nothing is installed there: all of its libraries come along
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" >"$tmp/sources"
cat >"$tmp/apt.conf" <<EOF
Dir::Etc::SourceList "$tmp/sources";
Dir::Etc::SourceParts "-";
Dir::State::Lists "$tmp/lists";
Dir::State::status "$tmp/status";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Cache::archives "$tmp/archives";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
EOF
if ! { APT_CONFIG="$tmp/apt.conf" apt-get update -qq && APT_CONFIG="$tmp/apt.conf" apt-get install -y -qq --download-only criu; } >"$tmp/log" 2>&1; then
	cat "$tmp/log" >&2
	exit 1
fi
for deb in "$tmp"/archives/*.deb; do dpkg-deb -x "$deb" "$tmp/root"; done
rm -rf "$tmp/root/usr/share" "$tmp/root/etc" "$tmp"/root/usr/lib/*/gconv

rm -rf "$dir"
mkdir -p "$(dirname "$dir")" "$(dirname "$program")"
mv "$tmp/root" "$dir"
chmod 755 "$dir"
libs=$(dirname "$(ls "$dir"/usr/lib/*/libc.so.6)")
cat >"$program.new" <<EOF
#!/bin/sh
# Debian $release's CRIU with its own libraries; made by install-criu.sh.
exec "$(ls "$libs"/ld-linux*.so.*)" --library-path "$libs" "$dir/usr/sbin/criu" "\$@"
EOF
chmod 755 "$program.new"
mv "$program.new" "$program"
if ! works "$program"; then
	echo "CRIU was installed in $dir, but it does not run:" >&2
	"$program" --version >&2
	exit 1
fi
