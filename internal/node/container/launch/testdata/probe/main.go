// Command probe tells from inside a container what it sees. Each argument is one
// question; the answers go to standard output, one line each unless they are a
// file's content.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	for _, q := range os.Args[1:] {
		word, arg, _ := strings.Cut(q, " ")
		if err := answer(word, arg); err != nil {
			fmt.Printf("%s: error: %v\n", q, err)
		}
	}
}

func answer(word, arg string) error {
	switch word {
	case "cat":
		f, err := os.Open(arg)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(os.Stdout, f)
		return err
	case "grep": // WORD FILE
		word, file, _ := strings.Cut(arg, " ")
		b, err := os.ReadFile(file)
		for _, line := range strings.Split(string(b), "\n") {
			if strings.Contains(line, word) {
				fmt.Println(line)
			}
		}
		return err
	case "write":
		return os.WriteFile(arg, []byte("written\n"), 0o644)
	case "append":
		f, err := os.OpenFile(arg, os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			_, err = f.WriteString("appended\n")
		}
		return err
	case "stat":
		var st syscall.Stat_t
		if err := syscall.Lstat(arg, &st); err != nil {
			return err
		}
		fmt.Printf("%s %o %d:%d rdev %d:%d\n", arg, st.Mode, st.Uid, st.Gid, st.Rdev>>8, st.Rdev&0xff)
	case "ls":
		list, err := os.ReadDir(arg)
		for _, e := range list {
			fmt.Print(e.Name(), " ")
		}
		fmt.Println()
		return err
	case "fds":
		list, err := filepath.Glob("/proc/self/fd/*")
		for _, p := range list {
			to, _ := os.Readlink(p)
			if !strings.HasPrefix(to, "anon_inode") && to != "" && !strings.HasPrefix(to, "/proc/") {
				fmt.Print(filepath.Base(p), " ")
			}
		}
		fmt.Println()
		return err
	case "pwd":
		dir, err := os.Getwd()
		fmt.Println(dir)
		return err
	case "env":
		fmt.Println(os.Getenv(arg))
	case "id":
		groups, err := os.Getgroups()
		fmt.Println(os.Getuid(), os.Getgid(), groups)
		return err
	case "pid":
		fmt.Println(os.Getpid())
	case "hostname":
		h, err := os.Hostname()
		fmt.Println(h)
		return err
	case "mkdir":
		return os.Mkdir(arg, 0o755)
	case "mount":
		return syscall.Mount("tmpfs", arg, "tmpfs", 0, "")
	case "climb": // DIR
		return climb(arg)
	case "reenter", "uncover":
		return reenter(word == "uncover")
	case "lo":
		_, err := net.Listen("tcp", "127.0.0.1:0")
		return err
	case "echo":
		s := bufio.NewScanner(os.Stdin)
		s.Scan()
		fmt.Println("heard", s.Text())
		return s.Err()
	case "say":
		fmt.Println(arg)
	case "sleep":
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		select {
		case <-c:
		case <-time.After(time.Minute):
		}
	default:
		return fmt.Errorf("unknown question %q", word)
	}
	return nil
}

// climb leaves a root of its own making by "..", goes as high as it can, and says
// what is there.
func climb(dir string) error {
	here, err := syscall.Open(".", syscall.O_RDONLY, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(os.Mkdir(dir, 0o755), syscall.Chroot(dir), syscall.Fchdir(here)); err != nil {
		return err
	}
	for range 64 {
		if err := syscall.Chdir(".."); err != nil {
			return err
		}
	}
	if err := syscall.Chroot("."); err != nil {
		return err
	}
	return answer("ls", "/")
}

// reenter enters the mount namespace that it is in, which sets the root anew, and
// says what is there. Before that it may unmount all that it can of its root.
func reenter(uncover bool) error {
	runtime.LockOSThread()
	if err := syscall.Unshare(syscall.CLONE_FS); err != nil {
		return err
	}
	ns, err := syscall.Open("/proc/thread-self/ns/mnt", syscall.O_RDONLY, 0)
	if err != nil {
		return err
	}
	for uncover && syscall.Unmount("/", syscall.MNT_DETACH) == nil {
	}
	if _, _, errno := syscall.RawSyscall(setns, uintptr(ns), syscall.CLONE_NEWNS, 0); errno != 0 {
		return errno
	}
	return errors.Join(answer("ls", "/"), answer("write", "/new"))
}
