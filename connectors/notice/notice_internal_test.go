package notice

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestGuardDials dials an address at which something listens, and others inside, in every spelling that the resolver or
// the dialler understands.
func TestGuardDials(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "127.0.0.2", "localhost", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
		"fe80::1", "fd00:ec2::254", "64:ff9b::a00:1", "2002:a00:1::1", "::127.0.0.1", "168.63.129.16", "224.0.0.1", "255.255.255.255"} {
		conn, err := Guard{}.dial(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err == nil {
			_ = conn.Close()
		}
		if !errors.Is(err, errInside) {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, allow := range []string{"127.0.0.0/8", "127.0.0.1"} {
		g, err := NewGuard([]string{allow})
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"127.0.0.1", "::ffff:127.0.0.1"} {
			conn, err := g.dial(t.Context(), "tcp", net.JoinHostPort(host, port))
			if err != nil {
				t.Errorf("%s with %s allowed: %v", host, allow, err)
				continue
			}
			_ = conn.Close()
		}
		if _, err := g.dial(t.Context(), "tcp", net.JoinHostPort("10.0.0.1", port)); !errors.Is(err, errInside) {
			t.Errorf("10.0.0.1 with %s allowed: %v", allow, err)
		}
	}
	for public, want := range map[string]bool{"1.1.1.1": true, "2606:4700::1111": true, "192.169.0.1": true, "100.128.0.1": true, "192.168.255.255": false, "2001::1": false} {
		if err := (Guard{}).check(netip.MustParseAddr(public)); (err == nil) != want {
			t.Errorf("%s: %v", public, err)
		}
	}
}

// TestDingTalkSign compares with what the program on the vendor's page prints for its own example secret, computed with
// Python's hmac: base64(HMAC-SHA256("this is secret", "1700000000000\nthis is secret")).
func TestDingTalkSign(t *testing.T) {
	timestamp, sign := dingTalkSign("this is secret", time.UnixMilli(1700000000000))
	if timestamp != "1700000000000" || sign != "sSFWELbV2YwjdDQhWZwTcWlX5BWUx5J6TPpsZmuPii0=" {
		t.Errorf("%s %s", timestamp, sign)
	}
}
