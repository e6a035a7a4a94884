package keeper

import "github.com/sampan-cloud/sampan/internal/node/container/wire"

func (k *Keeper) startStock(b *box, req wire.Start, stdio [3]int) (process, error) {
	return process{}, wire.Errorf(wire.Unsupported, "runtime %s: %s", req.Runtime, wire.Unsupported)
}
func (k *Keeper) execStock(b *box, req wire.Exec, stdio [3]int) (process, error) {
	return process{}, wire.Errorf(wire.Unsupported, "runtime: %s", wire.Unsupported)
}
func (k *Keeper) deleteStock(b *box)               {}
func (k *Keeper) updateStock(r wire.Control) error { return nil }
