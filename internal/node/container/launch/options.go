package launch

import (
	"strings"

	"golang.org/x/sys/unix"
)

// options are a mount's fstab-style options, sorted by what acts on them.
type options struct {
	bind, recursive bool
	flags           uintptr // MS_*, for a new filesystem
	set, clear      uint64  // MOUNT_ATTR_*, for a bind mount itself
	rset, rclear    uint64  // the same for all mounts below it
	propagation     uint64  // MS_PRIVATE and so on; 0 when not given
	deep            bool    // propagation is for all mounts below, too
	idmap, ridmap   bool
	data            []string // what only the filesystem understands
}

// flag is one option that the kernel has both as a flag of mount(2) and, if
// attr or atime says so, as an attribute of a mount.
type flag struct {
	ms    uintptr
	attr  uint64
	off   bool // the option clears it
	atime bool // one of the access time modes, which exclude each other
}

var flags = map[string]flag{
	"ro":            {ms: unix.MS_RDONLY, attr: unix.MOUNT_ATTR_RDONLY},
	"rw":            {ms: unix.MS_RDONLY, attr: unix.MOUNT_ATTR_RDONLY, off: true},
	"nosuid":        {ms: unix.MS_NOSUID, attr: unix.MOUNT_ATTR_NOSUID},
	"suid":          {ms: unix.MS_NOSUID, attr: unix.MOUNT_ATTR_NOSUID, off: true},
	"nodev":         {ms: unix.MS_NODEV, attr: unix.MOUNT_ATTR_NODEV},
	"dev":           {ms: unix.MS_NODEV, attr: unix.MOUNT_ATTR_NODEV, off: true},
	"noexec":        {ms: unix.MS_NOEXEC, attr: unix.MOUNT_ATTR_NOEXEC},
	"exec":          {ms: unix.MS_NOEXEC, attr: unix.MOUNT_ATTR_NOEXEC, off: true},
	"nodiratime":    {ms: unix.MS_NODIRATIME, attr: unix.MOUNT_ATTR_NODIRATIME},
	"diratime":      {ms: unix.MS_NODIRATIME, attr: unix.MOUNT_ATTR_NODIRATIME, off: true},
	"nosymfollow":   {ms: unix.MS_NOSYMFOLLOW, attr: unix.MOUNT_ATTR_NOSYMFOLLOW},
	"symfollow":     {ms: unix.MS_NOSYMFOLLOW, attr: unix.MOUNT_ATTR_NOSYMFOLLOW, off: true},
	"noatime":       {ms: unix.MS_NOATIME, attr: unix.MOUNT_ATTR_NOATIME, atime: true},
	"atime":         {ms: unix.MS_NOATIME, attr: unix.MOUNT_ATTR_RELATIME, off: true, atime: true},
	"relatime":      {ms: unix.MS_RELATIME, attr: unix.MOUNT_ATTR_RELATIME, atime: true},
	"norelatime":    {ms: unix.MS_RELATIME, attr: unix.MOUNT_ATTR_STRICTATIME, off: true, atime: true},
	"strictatime":   {ms: unix.MS_STRICTATIME, attr: unix.MOUNT_ATTR_STRICTATIME, atime: true},
	"nostrictatime": {ms: unix.MS_STRICTATIME, attr: unix.MOUNT_ATTR_RELATIME, off: true, atime: true},
	"sync":          {ms: unix.MS_SYNCHRONOUS},
	"async":         {ms: unix.MS_SYNCHRONOUS, off: true},
	"dirsync":       {ms: unix.MS_DIRSYNC},
	"lazytime":      {ms: unix.MS_LAZYTIME},
	"nolazytime":    {ms: unix.MS_LAZYTIME, off: true},
	"mand":          {ms: unix.MS_MANDLOCK},
	"nomand":        {ms: unix.MS_MANDLOCK, off: true},
	"acl":           {ms: unix.MS_POSIXACL},
	"noacl":         {ms: unix.MS_POSIXACL, off: true},
	"iversion":      {ms: unix.MS_I_VERSION},
	"noiversion":    {ms: unix.MS_I_VERSION, off: true},
	"silent":        {ms: unix.MS_SILENT},
	"loud":          {ms: unix.MS_SILENT, off: true},
}

var propagations = map[string]uint64{
	"private":    unix.MS_PRIVATE,
	"slave":      unix.MS_SLAVE,
	"shared":     unix.MS_SHARED,
	"unbindable": unix.MS_UNBINDABLE,
}

// parseOptions sorts a mount's options. Later ones win, as with mount(8).
func parseOptions(list []string) options {
	var o options
	for _, opt := range list {
		switch opt {
		case "bind":
			o.bind = true
			continue
		case "rbind":
			o.bind, o.recursive = true, true
			continue
		case "idmap":
			o.idmap = true
			continue
		case "ridmap":
			o.idmap, o.ridmap = true, true
			continue
		case "defaults", "":
			continue
		}
		plain, below := strings.CutPrefix(opt, "r")
		if f, ok := flags[opt]; ok {
			o.add(f)
		} else if f, ok := flags[plain]; ok && below && (f.attr != 0 || f.atime) {
			f.into(&o.rset, &o.rclear)
		} else if p, ok := propagations[opt]; ok {
			o.propagation, o.deep = p, false
		} else if p, ok := propagations[plain]; ok && below {
			o.propagation, o.deep = p, true
		} else {
			o.data = append(o.data, opt)
		}
	}
	return o
}

func (o *options) add(f flag) {
	if f.off {
		o.flags &^= f.ms
	} else {
		o.flags |= f.ms
	}
	f.into(&o.set, &o.clear)
}

// into records the flag as attributes to set and to clear.
func (f flag) into(set, clear *uint64) {
	switch {
	case f.atime:
		// The mode is a number in three bits: replace all of it.
		*clear |= unix.MOUNT_ATTR__ATIME
		*set = *set&^unix.MOUNT_ATTR__ATIME | f.attr
	case f.off:
		*set &^= f.attr
		*clear |= f.attr
	default:
		*set |= f.attr
		*clear &^= f.attr
	}
}
