// Package snapshot gives each container a writable filesystem over shared
// read-only layers.
//
// A layer is committed once and never changes. Preparing a container stacks an
// empty directory on committed layers; removing it deletes that directory and
// nothing else, so a crash in between loses at most one container's writes.
//
// On disk each is an entry: a directory that begins with a number, built in new/.
// It becomes real by one rename to snapshots/ and ceases to be by one rename to
// trash/. So there is no index that could disagree with the directories: Open
// reads them.
//
//	new/7                 being built; thrown away by the next Open
//	snapshots/0/fs        the empty directory under what has no parent
//	snapshots/3           a layer: its files (fs) and a record of what it is
//	snapshots/5.w.3.NAME  the files of a prepared filesystem on layer 3; its name
//	                      is its record, for a file more would be another inode
//	                      with each container; .v. is a view
//	work/5                overlay's own directory for it
//	trash/5               deleted by Run when it comes to it
//
// Layers are on the medium before they are real (syncfs, rename, fsync of the
// directory): a power cut never leaves one with holes. Prepared filesystems are
// not waited for, since the container that writes to one dies with the power.
package snapshot

import "time"

// Mount says what a prepared filesystem is made of: an overlay of the
// directories Lower, top first, under Upper with its work directory Work. All
// are relative to Base, which keeps the kernel's one page of mount options
// enough for many layers. Upper and Work are empty for a read-only view.
type Mount struct {
	Base  string
	Lower []string
	Upper string
	Work  string
}

// Usage is space on disk.
type Usage struct {
	Time   time.Time
	Bytes  uint64
	Inodes uint64
}
