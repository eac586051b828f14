package notice

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Guard decides which addresses notices may be sent to: those of the public internet, and what is allowed by name. It
// looks at the address that is dialled, after names were resolved, so that a name cannot lead inside.
type Guard struct {
	hosts    []string
	networks []netip.Prefix
}

// NewGuard reads what is allowed besides the public internet: names of hosts, and networks such as 10.1.2.0/24.
func NewGuard(allow []string) (Guard, error) {
	var g Guard
	for _, text := range allow {
		prefix, err := netip.ParsePrefix(text)
		addr, bad := netip.ParseAddr(text)
		switch {
		case err == nil && prefix != prefix.Masked():
			return Guard{}, fmt.Errorf("%q has bits set behind its mask: write the network itself", text)
		case err == nil:
			g.networks = append(g.networks, prefix)
		case bad == nil:
			g.networks = append(g.networks, netip.PrefixFrom(addr, addr.BitLen()))
		case text == "" || strings.ContainsAny(text, "/:@ *"):
			return Guard{}, fmt.Errorf("%q is neither the name of a host nor a network: write mail.internal or 10.1.2.0/24", text)
		default:
			g.hosts = append(g.hosts, strings.ToLower(text))
		}
	}
	return g, nil
}

// named reports whether a host is allowed by its name, wherever it leads.
func (g Guard) named(host string) bool {
	return slices.Contains(g.hosts, strings.ToLower(strings.TrimSuffix(host, ".")))
}

// errInside is why an address is not dialled.
var errInside = errors.New("the address is not one of the public internet: allow it under notices.allow of the configuration if it is meant")

// inside are networks beyond those that package netip knows by their kind: shared and special ones, documentation, tunnels
// that lead to another address, and the one public address at which a cloud answers its own machines.
//
// https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry;
// https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
var inside = prefixes("0.0.0.0/8", "100.64.0.0/10", "168.63.129.16/32", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10")

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

// check refuses an address that is not public and not allowed.
func (g Guard) check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	within := func(networks []netip.Prefix) bool {
		return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	switch {
	case within(g.networks):
		return nil
	case !addr.IsGlobalUnicast(), addr.IsPrivate(), within(inside):
		return fmt.Errorf("%s: %w", addr, errInside)
	}
	return nil
}

// checkHost refuses a host of which any address is not public and not allowed.
func (g Guard) checkHost(ctx context.Context, host string) error {
	if g.named(host) {
		return nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return err
	}
	for _, addr := range found {
		if err := g.check(addr); err != nil {
			return fmt.Errorf("%s: %w", host, err)
		}
	}
	return nil
}

// dial connects to an address whose host is a name or a literal.
func (g Guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if !g.named(host) {
		dialer.Control = func(_, resolved string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return err
			}
			return g.check(at.Addr())
		}
	}
	return dialer.DialContext(ctx, network, address)
}

// transport is a way out that goes through the guard. It takes no proxy from the environment: behind a proxy nobody can
// say where a name leads.
func (g Guard) transport() *http.Transport {
	return &http.Transport{
		DialContext:            g.dial,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  sendTimeout,
		IdleConnTimeout:        60 * time.Second,
		MaxIdleConns:           16,
		MaxResponseHeaderBytes: 64 << 10,
	}
}
