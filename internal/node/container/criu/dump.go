package criu

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// NetworkKey is what a dump calls the network namespace that it leaves out, as
// runc does.
const NetworkKey = "extRootNetNS"

// Names of files in a directory of images, or in the working directory of a
// restore.
const (
	DumpLog        = "dump.log"
	RestoreLog     = "restore.log"
	StatsDump      = "stats-dump"
	descriptorFile = "descriptors.json" // runc's name for it
)

// Dump is what is asked for to write a container's processes into files. They go
// on afterwards, also if it fails.
type Dump struct {
	PID      int           // the first process
	Images   string        // an empty directory, absolute
	External []string      // as Outside and Descriptors give them
	Frozen   string        // a program that WhileFrozen has written, or ""
	Freeze   time.Duration // how long stopping them all may take
}

// Args are the program's arguments.
func (d Dump) Args() []string {
	args := []string{
		"dump", "--tree", strconv.Itoa(d.PID), "--images-dir", d.Images, "--work-dir", d.Images,
		"--log-file", DumpLog, "-v2", "--leave-running",
		// The keeper and the engine know the cgroup; whoever restores makes one.
		"--manage-cgroups=ignore",
		// Connections are written down, and whoever restores decides about them. What
		// arrives meanwhile is held up by nobody: a lock in the pod's network would
		// outlive a CRIU that is killed.
		"--tcp-established", "--network-lock", "skip",
		"--file-locks", "--link-remap", "--ghost-limit", "64M", "--force-irmap",
		"--enable-external-masters", "--enable-external-sharing",
		"--timeout", strconv.Itoa(max(1, int(d.Freeze.Seconds()))),
	}
	if d.Frozen != "" {
		args = append(args, "--action-script", d.Frozen)
	}
	for _, e := range d.External {
		args = append(args, "--external", e)
	}
	return args
}

// WhileFrozen writes a program that has a shell command run when all is dumped
// and the processes still stand.
func WhileFrozen(path, command string) error {
	script := "#!/bin/sh\n[ \"$CRTOOLS_SCRIPT_ACTION\" = post-dump ] || exit 0\n" + command + "\n"
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		return fmt.Errorf("write what is done meanwhile: %w", err)
	}
	return nil
}

// Restore is what is asked for to make processes of images. The first one becomes
// the child of whoever adopts orphans.
type Restore struct {
	Images   string   // absolute
	Work     string   // a directory for the log
	Root     string   // where the container's / is mounted
	PIDFile  string   // where the first process is written down
	External []string // "mnt[KEY]:SOURCE"
	Join     []string // "uts:PATH": namespaces of the pod to enter in place of those dumped
	Inherit  []string // keys of the descriptors from 3 on
	KeepTCP  bool     // the address is the same: connections go on
}

// Args are the program's arguments.
func (r Restore) Args() []string {
	args := []string{
		"restore", "--images-dir", r.Images, "--work-dir", r.Work, "--log-file", RestoreLog, "-v2",
		"--root", r.Root, "--restore-detached", "--pidfile", r.PIDFile,
		"--manage-cgroups=ignore", "--file-locks", "--link-remap", "--force-irmap",
		"--enable-external-masters", "--enable-external-sharing",
		// The pipes are new ones, and a container may have changed its old ones' mode.
		"--skip-file-rwx-check",
	}
	if r.KeepTCP {
		args = append(args, "--tcp-established")
	} else {
		args = append(args, "--tcp-close")
	}
	for _, e := range r.External {
		args = append(args, "--external", e)
	}
	for _, ns := range r.Join {
		args = append(args, "--join-ns", ns)
	}
	for i, key := range r.Inherit {
		args = append(args, "--inherit-fd", fmt.Sprintf("fd[%d]:%s", i+3, key))
	}
	return args
}
