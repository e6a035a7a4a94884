#!/bin/bash
# boot.sh NAME DIR LAYOUT PROGRAMS: systemd as the init of namespaces of its own, on an overlay
# of this root, with NAME as the root of its cgroups and PROGRAMS in the same place.
set -eu
name=$1 dir=$2 layout=$3 programs=$4
if [ "${5-}" != inside ]; then
	for h in /sys/fs/cgroup /sys/fs/cgroup/*/; do
		[ -e "$h/cgroup.procs" ] || continue
		mkdir -p "$h/$name"
		if [ -e "$h/tasks" ] && [ -e "$h/$name/cpuset.cpus" ]; then
			cat "$h/cpuset.cpus" >"$h/$name/cpuset.cpus"
			cat "$h/cpuset.mems" >"$h/$name/cpuset.mems"
		fi
		echo $$ >"$h/$name/cgroup.procs"
	done
	exec unshare --pid --mount --cgroup --uts --ipc --fork --kill-child /bin/bash "$0" "$@" inside
fi
mount --make-rprivate /
root=$dir/root
mkdir -p "$root" "$dir/top"
mount -t tmpfs tmpfs "$dir/top"
mkdir "$dir/top/upper" "$dir/top/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/top/upper,workdir=$dir/top/work" "$root"
mkdir -p "$root$programs"
mount --bind "$programs" "$root$programs"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/run"
mount --rbind /dev "$root/dev"
cgroups=$root/sys/fs/cgroup
case $layout in
v2) mount -t cgroup2 cgroup "$cgroups" ;;
*)
	mount -t tmpfs tmpfs "$cgroups"
	for c in cpu cpuacct cpuset memory devices freezer blkio pids; do
		mkdir "$cgroups/$c"
		mount -t cgroup cgroup "$cgroups/$c" -o "$c"
	done
	mkdir "$cgroups/systemd"
	mount -t cgroup cgroup "$cgroups/systemd" -o none,name=systemd
	if [ "$layout" = hybrid ]; then
		mkdir "$cgroups/unified"
		mount -t cgroup2 cgroup "$cgroups/unified"
	fi
	;;
esac
printf '[Unit]\nDefaultDependencies=no\n' >"$root/etc/systemd/system/bare.target"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
mkdir "$root/run/old"
cd "$root"
pivot_root . run/old
umount -l /run/old
exec env -i container=sampan PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=bare.target --log-target=console
