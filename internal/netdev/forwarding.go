package netdev

import (
	"errors"
	"os"
	"path"
)

const ipv6Conf = "net/ipv6/conf/"

// What the kernel alters along with a forwarding switch of IPv6, per interface.
type ipv6Settings struct {
	name, forwarding, forced, acceptRA string
}

// writeForwarding writes net/ipv6/conf/*/forwarding and nothing else.
//
// The kernel (net/ipv6/addrconf.c) copies conf/all/forwarding to default and to
// every interface, turns force_forwarding off everywhere with it (since 6.17),
// and when a switch goes on throws away the default routes that were learned
// from router advertisements on interfaces that forward, unless their
// accept_ra is 2. A host that is reached by such a route would be cut off
// until the router's next advertisement, minutes later. So accept_ra is 2 while
// the switch is thrown, and then all is put back as it was: the host stays a
// host on its other interfaces.
func writeForwarding(key, value string) error {
	before, err := readIPv6Settings()
	if err != nil {
		return err
	}
	for _, s := range before {
		if s.acceptRA == "1" {
			if err := putBack(s.name, "accept_ra", "2"); err != nil {
				return err
			}
		}
	}
	errs := []error{writeFile(key, value)}
	for _, s := range before {
		if path.Dir(key) != ipv6Conf+s.name {
			errs = append(errs, putBack(s.name, "forwarding", s.forwarding))
		}
		errs = append(errs, putBack(s.name, "force_forwarding", s.forced))
	}
	for _, s := range before {
		errs = append(errs, putBack(s.name, "accept_ra", s.acceptRA))
	}
	return errors.Join(errs...)
}

// readIPv6Settings reads the settings of all interfaces, and of default. Those
// of all stand for every interface, and are left out.
func readIPv6Settings() ([]ipv6Settings, error) {
	dirs, err := os.ReadDir(sysctlRoot + ipv6Conf)
	if err != nil {
		return nil, sysctlError(ipv6Conf, err)
	}
	var list []ipv6Settings
	for _, d := range dirs {
		if d.Name() == "all" {
			continue
		}
		s := ipv6Settings{name: d.Name()}
		// A file that is missing reads as "": the interface has just gone, or
		// the kernel is too old to have it.
		s.forwarding, _ = readSysctl(conf(6, s.name, "forwarding"))
		s.forced, _ = readSysctl(conf(6, s.name, "force_forwarding"))
		s.acceptRA, _ = readSysctl(conf(6, s.name, "accept_ra"))
		list = append(list, s)
	}
	return list, nil
}

// putBack writes a setting of an interface where it differs.
func putBack(name, setting, value string) error {
	key := conf(6, name, setting)
	now, err := readSysctl(key)
	if err != nil || now == value {
		return nil // the interface or the setting does not exist
	}
	return writeFile(key, value)
}
