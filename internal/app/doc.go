// Package app builds every part of the daemon from one configuration and runs
// them, bottom floor first; only it knows them all.
//
// A part that cannot be built or that fails ends the daemon with the part's
// name. Containers do not notice: they are the keeper's. What outlives the
// daemon on purpose is taken away by Down.
package app
