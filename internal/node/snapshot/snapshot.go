// Package snapshot gives each container a writable filesystem over shared
// read-only layers.
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
