package network

import (
	"fmt"
	"log/slog"

	"github.com/google/nftables"
)

// warnOfFirewall reports chains of others that drop what is forwarded unless
// they know it: then pods reach nothing beyond the node, and each other neither
// when br_netfilter is loaded. Their tables are theirs, so nothing is added.
func (r *rules) warnOfFirewall(log *slog.Logger) error {
	r.commit.Lock()
	defer r.commit.Unlock()
	chains, err := r.conn.ListChains()
	if err != nil {
		return fmt.Errorf("list nftables chains: %w", err)
	}
	for _, c := range chains {
		forwards := c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookForward && c.Type == nftables.ChainTypeFilter
		drops := c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop
		reaches := c.Table.Family == nftables.TableFamilyIPv4 || c.Table.Family == nftables.TableFamilyINet
		if !forwards || !drops || !reaches {
			continue
		}
		log.Warn("a firewall on this machine drops forwarded packets it does not know: pods will not reach the outside until it accepts those from and to the bridge",
			"table", c.Table.Name, "chain", c.Name, "bridge", r.cfg.Bridge,
			"remedy", fmt.Sprintf("nft insert rule ip %s %s iifname %s accept; nft insert rule ip %s %s oifname %s accept", c.Table.Name, c.Name, r.cfg.Bridge, c.Table.Name, c.Name, r.cfg.Bridge))
	}
	return nil
}
