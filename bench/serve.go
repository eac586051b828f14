package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
)

const (
	readyTimeout = 15 * time.Second
	idleFor      = 3 * time.Second
)

// measureServe builds truestock and starts it, each time on a new database and connected to a pretend shop and a pretend
// warehouse: how long until it says that it is ready, and what it has in memory after being idle for a while.
func (b *bench) measureServe(ctx context.Context) (err error) {
	b.report.step("build truestock")
	binary := filepath.Join(b.dir, "truestock")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "github.com/truestock/truestock/cmd/truestock")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build truestock: %w\n%s", err, out)
	}
	shop := fake.NewShop(fake.ShopConfig{Token: token})
	defer shop.Close()
	record := fake.NewWarehouse(fake.WarehouseConfig{Token: token, Locations: []open.Location{{ID: location, Name: "Main"}},
		Capabilities: open.RecordCapabilities{Name: warehouse, Levels: "on_hand", Positions: true, CompleteLevels: true}})
	defer record.Close()
	shopServer, err := fake.Serve(shop)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shopServer.Close()) }()
	recordServer, err := fake.Serve(record)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, recordServer.Close()) }()

	var running []*instance
	defer func() {
		for _, i := range running {
			err = errors.Join(err, i.end())
		}
	}()
	var ready, idle []float64
	for round := 1; round <= b.size.serveRounds; round++ {
		b.report.step("start truestock, round %d of %d", round, b.size.serveRounds)
		i, err := startInstance(binary, filepath.Join(b.dir, fmt.Sprintf("serve-%d", round)), shopServer.URL, recordServer.URL)
		if err != nil {
			return err
		}
		running = append(running, i)
		took, err := i.untilReady(ctx)
		if err != nil {
			return err
		}
		ready = append(ready, float64(took.Microseconds())/1000)
	}
	b.report.step("leave them idle for %s", idleFor)
	timer := time.NewTimer(idleFor)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	for _, i := range running {
		if mib, ok := memory(strconv.Itoa(i.cmd.Process.Pid), "VmRSS"); ok {
			idle = append(idle, mib)
		}
	}
	b.result.Ready, b.result.Idle = figure(median(ready)), figure(median(idle))
	if len(idle) == 0 {
		b.report.note("idle_mib is not measured: this system has no /proc")
	}
	return nil
}

// instance is a running truestock.
type instance struct {
	cmd     *exec.Cmd
	url     string
	log     bytes.Buffer
	started time.Time
}

const serveConfig = `listen: %q
database: {url: %q}
connections:
  shop:
    connector: open
    role: marketplace
    settings: {base_url: %q, token: %s, webhook_secrets: %q}
    orders_to: warehouse
  warehouse:
    connector: open
    role: system_of_record
    settings: {base_url: %q, token: %s, webhook_secrets: %q}
`

func startInstance(binary, path, shopURL, recordURL string) (*instance, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	secret := newSecret()
	config := fmt.Sprintf(serveConfig, address, "sqlite:"+path+".db", shopURL, token, secret, recordURL, token, secret)
	if err := os.WriteFile(path+".yaml", []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("write a configuration: %w", err)
	}
	i := &instance{cmd: exec.Command(binary, "serve", "--config", path+".yaml"), url: "http://" + address}
	i.cmd.Stdout, i.cmd.Stderr = &i.log, &i.log
	i.started = time.Now()
	if err := i.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start truestock: %w", err)
	}
	return i, nil
}

// freeAddress is an address on loopback where nobody listens. Somebody may come first: then truestock says so and ends.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen on loopback: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// untilReady asks until truestock says that it is ready, and returns how long that took from its start.
func (i *instance) untilReady(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	client := &http.Client{Timeout: readyTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, i.url+"/readyz", nil)
		if err != nil {
			return 0, err
		}
		if answer, err := client.Do(request); err == nil {
			took := time.Since(i.started)
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return took, nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("truestock was not ready within %s", readyTimeout)
		case <-tick.C:
		}
	}
}

// end stops truestock as an operator does. Its log is told where it ended otherwise than it should.
func (i *instance) end() error {
	if err := i.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop truestock: %w", err)
	}
	late := time.AfterFunc(readyTimeout, func() { _ = i.cmd.Process.Kill() })
	defer late.Stop()
	if err := i.cmd.Wait(); err != nil {
		return fmt.Errorf("truestock ended with %w:\n%s", err, i.log.String())
	}
	return nil
}
