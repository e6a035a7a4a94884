package debian

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// users are the image's passwd and group files.
type users struct {
	passwd []string // lines of seven fields
	groups []string // lines of four
	next   int      // number for the next system user or group
}

// readUsers begins with those that every Debian has, and adds those that
// packages describe in sysusers.d.
func readUsers(t *tree) (*users, error) {
	u := &users{next: 100}
	for name, lines := range map[string]*[]string{"passwd": &u.passwd, "group": &u.groups} {
		data, err := t.read("usr/share/base-passwd/" + name + ".master")
		if err != nil {
			return nil, err
		}
		if data == nil {
			data = []byte(map[string]string{
				"passwd": "root:*:0:0:root:/root:/bin/bash\nnobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
				"group":  "root:*:0:\nnogroup:*:65534:\n",
			}[name])
		}
		*lines = strings.Split(strings.TrimSpace(string(data)), "\n")
	}
	for i, line := range u.passwd {
		if rest, ok := strings.CutSuffix(line, "/bash"); ok {
			u.passwd[i] = rest + "/sh" // bash may not be in the image
		}
	}
	for _, name := range t.names("usr/lib/sysusers.d") {
		data, err := t.read(name)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			u.sysuser(t, split(strings.TrimSpace(line)))
		}
	}
	return u, nil
}

// sysuser does one line of sysusers.d: type, name, number, description, home.
func (u *users) sysuser(t *tree, f []string) {
	if len(f) < 2 {
		return
	}
	get := func(i int) string {
		if i < len(f) && f[i] != "-" {
			return f[i]
		}
		return ""
	}
	switch f[0] {
	case "g":
		u.group(f[1])
	case "u", "u!":
		u.user(t, f[1], f[1], get(4), get(5))
	}
}

// command does what a command of a script does for users.
func (u *users) command(t *tree, words []string) {
	switch words[0] {
	case "adduser", "useradd", "addgroup", "groupadd":
	case "dpkg-statoverride":
		u.override(t, words)
		return
	default:
		return
	}
	flags := make(map[string]string)
	var names []string
	for i := 1; i < len(words); i++ {
		name, value, given := strings.Cut(words[i], "=")
		switch {
		case !strings.HasPrefix(words[i], "-"):
			names = append(names, words[i])
		case given:
			flags[name] = value
		case takesValue(words[0], name) && i+1 < len(words):
			i++
			flags[name] = words[i]
		default:
			flags[name] = "yes"
		}
	}
	first := func(keys ...string) string {
		for _, k := range keys {
			if flags[k] != "" {
				return flags[k]
			}
		}
		return ""
	}
	switch {
	case len(names) == 2 && words[0] == "adduser":
		u.join(names[0], names[1])
	case len(names) != 1:
	case words[0] == "addgroup" || words[0] == "groupadd" || flags["--group"] != "" && flags["--system"] == "":
		u.group(names[0])
	default:
		group := first("--ingroup", "--gid", "-g")
		if group == "" {
			group = "nogroup"
			if flags["--group"] != "" || words[0] == "useradd" {
				group = names[0]
			}
		}
		u.user(t, names[0], group, first("--home", "--home-dir", "-d"), first("--shell", "-s"))
		if flags["--no-create-home"] != "" || flags["-M"] != "" {
			return
		}
		u.home(t, names[0])
	}
}

// takesValue tells the options that are followed by a value.
func takesValue(command, flag string) bool {
	long := []string{"--home", "--home-dir", "--shell", "--gecos", "--comment", "--uid", "--gid", "--ingroup", "--groups", "--conf", "--firstuid", "--lastuid"}
	short := []string{"-d", "-s", "-g", "-G", "-u", "-c", "-k", "-K"}
	return slices.Contains(long, flag) || strings.HasSuffix(command, "add") && slices.Contains(short, flag)
}

// user makes a system user unless there is one of that name.
func (u *users) user(t *tree, name, group, home, shell string) {
	if _, _, found := u.id(name); found {
		return
	}
	if home == "" {
		home = "/nonexistent"
	}
	if shell == "" {
		shell = "/usr/sbin/nologin"
	}
	gid := u.group(group)
	u.passwd = append(u.passwd, fmt.Sprintf("%s:*:%d:%d::%s:%s", name, u.next, gid, home, shell))
	u.next++
}

// group makes a system group unless there is one, and returns its number. A
// number stands for itself.
func (u *users) group(name string) int {
	if n, err := strconv.Atoi(name); err == nil {
		return n
	}
	for _, line := range u.groups {
		if f := strings.Split(line, ":"); f[0] == name {
			gid, _ := strconv.Atoi(f[2])
			return gid
		}
	}
	// A user made next gets the same number, as on a real system most do.
	u.groups = append(u.groups, fmt.Sprintf("%s:*:%d:", name, u.next))
	gid := u.next
	if _, _, taken := u.id(name); taken {
		u.next++
	}
	return gid
}

// join adds a user to a group.
func (u *users) join(name, group string) {
	u.group(group)
	for i, line := range u.groups {
		f := strings.Split(line, ":")
		if f[0] != group || slices.Contains(strings.Split(f[3], ","), name) {
			continue
		}
		f[3] = strings.TrimPrefix(f[3]+","+name, ",")
		u.groups[i] = strings.Join(f, ":")
	}
}

// id returns a user's numbers.
func (u *users) id(name string) (uid, gid int, found bool) {
	for _, line := range u.passwd {
		if f := strings.Split(line, ":"); f[0] == name {
			uid, _ = strconv.Atoi(f[2])
			gid, _ = strconv.Atoi(f[3])
			return uid, gid, true
		}
	}
	return 0, 0, false
}

// home makes a user's directory and gives it to them.
func (u *users) home(t *tree, name string) {
	for _, line := range u.passwd {
		f := strings.Split(line, ":")
		if f[0] != name || f[5] == "/nonexistent" || !strings.HasPrefix(f[5], "/var/") {
			continue
		}
		uid, gid, _ := u.id(name)
		t.dir(clean(f[5]), 0o755, uid, gid)
	}
}

// override does dpkg-statoverride --add USER GROUP MODE FILE.
func (u *users) override(t *tree, words []string) {
	at := slices.Index(words, "--add")
	if at < 0 || at+4 >= len(words) {
		return
	}
	n := t.find(clean(words[at+4]))
	mode, err := strconv.ParseInt(words[at+3], 8, 32)
	uid, _, found := u.id(words[at+1])
	if n == nil || err != nil || !found {
		return
	}
	n.Uid, n.Gid, n.Mode = uid, u.group(words[at+2]), mode
}

func (u *users) write(t *tree) error {
	if err := t.text("etc/passwd", strings.Join(u.passwd, "\n")+"\n"); err != nil {
		return err
	}
	return t.text("etc/group", strings.Join(u.groups, "\n")+"\n")
}
