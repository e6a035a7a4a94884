// Command toolbox is what test containers run: one static program with the few
// commands that tests need, since no image can be fetched.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var commands = map[string]struct {
	args int
	run  func(args []string) error
}{
	"sleep":  {0, sleep},  // until SIGTERM, then exit code 0
	"stay":   {0, stay},   // ignores SIGTERM
	"exit":   {1, exit},   // CODE
	"echo":   {0, echo},   // WORD…
	"cat":    {0, cat},    // FILE…, or the input
	"write":  {2, write},  // FILE TEXT
	"env":    {1, env},    // NAME
	"serve":  {1, serve},  // PORT: answers with host name and path, until SIGTERM
	"get":    {1, get},    // URL
	"lookup": {1, lookup}, // NAME
	"tick":   {1, tick},   // INTERVAL: a numbered line each
	"hog":    {1, hog},    // MIB of memory, touched
	"ls":     {1, list},   // DIR
	"id":     {0, id},
	"spin":   {0, spin},    // uses a processor
	"stat":   {1, stat},    // PATH: mode, owner and group
	"tar":    {2, archive}, // as tar, as far as kubectl cp goes
	"health": {1, healthy}, // PORT: the gRPC health protocol
	"shell":  {0, shell},   // with a prompt
}

func main() {
	// Under another name it is that command, as busybox does it.
	if name := filepath.Base(os.Args[0]); commands[name].run != nil {
		os.Args = append([]string{"toolbox", name}, os.Args[1:]...)
	}
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: toolbox COMMAND [ARGUMENT...]")
		os.Exit(2)
	}
	c, ok := commands[os.Args[1]]
	if !ok || len(os.Args)-2 < c.args {
		fmt.Fprintf(os.Stderr, "toolbox: %q is no command, or lacks arguments\n", os.Args[1])
		os.Exit(2)
	}
	if err := c.run(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "toolbox:", err)
		os.Exit(1)
	}
}

func sleep([]string) error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM, os.Interrupt)
	<-c
	return nil
}

func stay([]string) error {
	signal.Ignore(syscall.SIGTERM)
	select {}
}

func exit(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	os.Exit(n)
	return nil
}

func echo(args []string) error {
	fmt.Println(strings.Join(args, " "))
	return nil
}

func cat(args []string) error {
	if len(args) == 0 {
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	}
	for _, name := range args {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		os.Stdout.Write(data)
	}
	return nil
}

func write(args []string) error { return os.WriteFile(args[0], []byte(args[1]), 0o644) }

func env(args []string) error {
	fmt.Println(os.Getenv(args[0]))
	return nil
}

func serve(args []string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s from %s\n", name, r.URL.Path, r.RemoteAddr)
	})
	l, err := net.Listen("tcp", ":"+args[0])
	if err != nil {
		return err
	}
	fmt.Println("serving on", args[0])
	go http.Serve(l, nil)
	return sleep(nil)
}

func get(args []string) error {
	c := http.Client{Timeout: 5 * time.Second}
	res, err := c.Get(args[0])
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(os.Stdout, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", args[0], res.Status)
	}
	return nil
}

func lookup(args []string) error {
	addrs, err := net.LookupHost(args[0])
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(addrs, "\n"))
	return nil
}

func tick(args []string) error {
	every, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	w := bufio.NewWriter(os.Stdout)
	for i := 0; ; i++ {
		fmt.Fprintf(w, "tick %d\n", i)
		if err := w.Flush(); err != nil {
			return err
		}
		time.Sleep(every)
	}
}

func hog(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	b := make([]byte, n<<20)
	for i := range b {
		b[i] = byte(i)
	}
	fmt.Println("held", n, "MiB")
	return sleep(nil)
}

func list(args []string) error {
	entries, err := os.ReadDir(args[0])
	if err != nil {
		return err
	}
	for _, e := range entries {
		fmt.Println(e.Name())
	}
	return nil
}

func id([]string) error {
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	fmt.Println(os.Getuid(), os.Getgid(), groups)
	return nil
}

func stat(args []string) error {
	var st syscall.Stat_t
	if err := syscall.Stat(args[0], &st); err != nil {
		return err
	}
	fmt.Printf("%o %d %d\n", st.Mode&0o7777, st.Uid, st.Gid)
	return nil
}

func spin([]string) error {
	for {
	}
}
