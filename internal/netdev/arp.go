package netdev

import (
	"fmt"
	"strconv"
)

// CheckARP reports a setting with which the kernel does not answer ARP for
// cluster addresses on an interface: arp_ignore of 3 (no address of scope host)
// or 8 (none at all). The greater of the interface's and that of "all" counts
// (Documentation/networking/ip-sysctl.rst).
func CheckARP(ifname string) error {
	effective, where := 0, ""
	for _, conf := range []string{"all", ifname} {
		key := "net/ipv4/conf/" + conf + "/arp_ignore"
		text, err := readSysctl(key)
		if err != nil {
			return fmt.Errorf("read sysctl %s: %w", key, err)
		}
		value, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("read sysctl %s: %w", key, err)
		}
		if value > effective {
			effective, where = value, key
		}
	}
	if effective == 3 || effective == 8 {
		return fmt.Errorf("sysctl %s is %d, with which nobody answers ARP for a cluster address: set it to 0 or 1", where, effective)
	}
	return nil
}
