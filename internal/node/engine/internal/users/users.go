// Package users finds users and groups in an image's own /etc/passwd and
// /etc/group.
package users

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// DB is where an image's files come from.
type DB interface {
	ReadFile(name string) ([]byte, error)
}

// User is whom a process runs as. Groups are those that the image gives the
// user beside its own.
type User struct {
	UID, GID uint32
	Name     string // empty when the image has no such user
	Home     string
	Groups   []uint32
}

// Find reads "name", "uid", "name:group" or "uid:gid", as an image or a request
// has it. A number needs no entry in the image; a name does. Empty is root.
func Find(db DB, s string) (User, error) {
	who, group, hasGroup := strings.Cut(s, ":")
	if who == "" {
		who = "0"
	}
	u, err := findUser(db, who)
	if err != nil {
		return User{}, err
	}
	if u.Name != "" {
		if u.Groups, err = memberships(db, u.Name); err != nil {
			return User{}, err
		}
	}
	if hasGroup {
		if u.GID, err = findGroup(db, group); err != nil {
			return User{}, err
		}
	}
	return u, nil
}

func findUser(db DB, who string) (User, error) {
	id, isNumber := number(who)
	found := User{UID: id}
	ok := false
	err := entries(db, "/etc/passwd", 6, func(f []string) bool {
		uid, good := number(f[2])
		gid, good2 := number(f[3])
		if !good || !good2 || !(f[0] == who || isNumber && uid == id) {
			return true
		}
		found = User{UID: uid, GID: gid, Name: f[0], Home: f[5]}
		ok = true
		return false
	})
	if err != nil {
		return User{}, err
	}
	if !ok && !isNumber {
		return User{}, fmt.Errorf("user %q is not in the image's /etc/passwd: %w", who, fault.Invalid)
	}
	return found, nil
}

func findGroup(db DB, group string) (uint32, error) {
	id, isNumber := number(group)
	if isNumber {
		return id, nil
	}
	ok := false
	err := entries(db, "/etc/group", 3, func(f []string) bool {
		gid, good := number(f[2])
		if good && f[0] == group {
			id, ok = gid, true
		}
		return !ok
	})
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, fmt.Errorf("group %q is not in the image's /etc/group: %w", group, fault.Invalid)
	}
	return id, nil
}

// memberships returns the groups that list name as a member.
func memberships(db DB, name string) ([]uint32, error) {
	var groups []uint32
	err := entries(db, "/etc/group", 4, func(f []string) bool {
		gid, good := number(f[2])
		if good && slices.Contains(strings.Split(f[3], ","), name) {
			groups = append(groups, gid)
		}
		return true
	})
	return groups, err
}

// entries calls each with the fields of every line that has at least min of
// them, until it returns false. An image without the file has no entries.
func entries(db DB, file string, min int, each func([]string) bool) error {
	b, err := db.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up users: %w", err)
	}
	for line := range bytes.Lines(b) {
		f := strings.Split(strings.TrimSpace(string(line)), ":")
		if len(f) >= min && !strings.HasPrefix(f[0], "#") && !each(f) {
			return nil
		}
	}
	return nil
}

// number reads a user or group ID. The largest value means "none" to the kernel.
func number(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n >= math.MaxUint32 {
		return 0, false
	}
	return uint32(n), true
}
