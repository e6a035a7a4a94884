package network

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// listener tells which process of the host listens at p, in the calling
// thread's namespace. Binding tells quickly that nobody does; only when it
// fails is it worth reading who.
func listener(p hostPort) (who string, taken bool) {
	if !errors.Is(tryBind(p), unix.EADDRINUSE) {
		return "", false
	}
	names := map[uint8][]string{6: {"tcp", "tcp6"}, 17: {"udp", "udp6"}}[p.protocol]
	for _, name := range names {
		inode, found := findSocket(filepath.Join("/proc/thread-self/net", name), p)
		if found {
			return socketOwner(inode), true
		}
	}
	// In use by an outgoing connection only: that one is left alone.
	return "", false
}

func tryBind(p hostPort) error {
	kind := unix.SOCK_STREAM
	if p.protocol == unix.IPPROTO_UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, int(p.protocol))
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if kind == unix.SOCK_STREAM {
		// Connections that linger after their end are no reason to refuse.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
	}
	at := &unix.SockaddrInet4{Port: int(p.port)}
	if p.addr.IsValid() {
		at.Addr = p.addr.As4()
	}
	return unix.Bind(fd, at)
}

// findSocket looks in one of the kernel's socket tables for the socket that
// waits for peers at p, and returns its inode.
func findSocket(table string, p hostPort) (inode string, found bool) {
	f, err := os.Open(table)
	if err != nil {
		return "", false
	}
	defer f.Close()
	waiting := "0A" // TCP_LISTEN
	if p.protocol == unix.IPPROTO_UDP {
		waiting = "07" // TCP_CLOSE, which is what an unconnected UDP socket is in
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != waiting {
			continue
		}
		at, ok := parseSocketAddr(fields[1])
		if ok && at.Port() == p.port && (!p.addr.IsValid() || at.Addr().IsUnspecified() || at.Addr() == p.addr) {
			return fields[9], true
		}
	}
	return "", false
}

// parseSocketAddr reads an address as /proc/net has it: words of four bytes in
// the machine's order, in hexadecimal.
func parseSocketAddr(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	number, err := hex.DecodeString(port)
	if !ok || err != nil || len(number) != 2 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(number)), true
}

// socketOwner names a process that has the socket open.
func socketOwner(inode string) string {
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err != nil || to != "socket:["+inode+"]" {
			continue
		}
		pid := strings.Split(fd, "/")[2]
		name, err := os.ReadFile(filepath.Join("/proc", pid, "comm"))
		if err != nil {
			continue
		}
		return fmt.Sprintf("process %s (%s)", pid, strings.TrimSpace(string(name)))
	}
	return "a process of the host"
}

// forgetConnections drops the tracked connections to ports that have no
// connections of their own. A kernel without that interface keeps them until
// they time out, so failing is not worth failing a pod for.
func forgetConnections(h *netlink.Handle, ports map[hostPort]uint16) {
	for p := range ports {
		if p.protocol == unix.IPPROTO_TCP {
			continue
		}
		filter := &netlink.ConntrackFilter{}
		if filter.AddProtocol(p.protocol) != nil || filter.AddPort(netlink.ConntrackOrigDstPort, p.port) != nil {
			continue
		}
		_, _ = h.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, filter)
	}
}
