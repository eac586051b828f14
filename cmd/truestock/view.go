package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	stocksync "github.com/truestock/truestock/sync"
)

// liveView shows the demo while it runs: on a terminal a screen that is drawn anew and fits it, elsewhere a line now and
// then.
type liveView struct {
	out    io.Writer
	silent bool
	// terminal is nil where nobody watches a screen.
	terminal *os.File
	engine   *stocksync.Engine
	world    *demoWorld
	began    time.Time

	mu sync.Mutex
	// what goes on now, and where to look inside.
	what, page, password string
}

func newLiveView(out io.Writer, silent bool, engine *stocksync.Engine, world *demoWorld) *liveView {
	v := &liveView{out: out, silent: silent, engine: engine, world: world, began: time.Now(), what: "orders, receipts and faults are flowing"}
	if isTerminal(out) {
		v.terminal, _ = out.(*os.File)
	}
	return v
}

// phase says what is going on now.
func (v *liveView) phase(what string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.what = what
}

// inside says where the pages are, and the token that opens them.
func (v *liveView) inside(page, password string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.page, v.password = page, password
}

func (v *liveView) run(ctx context.Context) {
	if v.silent {
		return
	}
	every := 5 * time.Second
	if v.terminal != nil {
		every = 500 * time.Millisecond
	} else {
		fmt.Fprintf(v.out, "look inside: %s with any name and the password %s\n", v.page, v.password)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			v.draw(ctx)
		}
	}
}

func (v *liveView) draw(ctx context.Context) {
	s, err := v.world.summary(ctx, v.engine)
	if err != nil {
		return // the end of the demo says what is wrong
	}
	v.mu.Lock()
	what, page, password := v.what, v.page, v.password
	v.mu.Unlock()
	head := fmt.Sprintf("%3.0fs  %s", time.Since(v.began).Seconds(), what)
	numbers := fmt.Sprintf("%d events (%d doubled), %d orders, %d writes, %d of %d listings true, %d units oversold",
		s.Events, s.Duplicates, s.Orders, s.Pushes, s.ListingsShownEqualTarget, s.Listings, s.OversoldUnits)
	if v.terminal == nil {
		fmt.Fprintln(v.out, head+": "+numbers)
		return
	}
	width, height, err := term.GetSize(int(v.terminal.Fd()))
	if err != nil || width < 1 || height < 1 {
		width, height = 80, 24
	}
	lines := []string{head, "      " + numbers, "      look inside: " + page, "      any name, password " + password, ""}
	lines = append(lines, v.table(ctx, height-len(lines)-2)...)
	fmt.Fprint(v.out, screen(lines, width, height))
}

// screen draws lines over what the terminal shows, each cut to its width, and leaves the last row free. It erases behind
// what it writes and never all at once, so that nothing flickers.
func screen(lines []string, width, height int) string {
	var b strings.Builder
	b.WriteString("\x1b[H")
	for _, l := range lines[:max(0, min(len(lines), height-1))] {
		cut := []rune(l)
		b.WriteString(string(cut[:min(len(cut), width)]) + "\x1b[K\r\n")
	}
	b.WriteString("\x1b[J")
	return b.String()
}

// table shows the first listings of each shop, in so many rows: the target beside what the shop really shows.
func (v *liveView) table(ctx context.Context, rows int) []string {
	lines := []string{fmt.Sprintf("%-22s %8s %8s  %s", "LISTING", "SHOULD", "SHOWS", "STATE")}
	each := rows / len(v.world.shops)
	for _, shop := range v.world.shops {
		for i, l := range shop.Listings() {
			if i >= each {
				break
			}
			state, should := "", "-"
			if x, err := v.engine.Listing(ctx, listingKey(shop.ID(), l.Item, l.Place)); err == nil {
				state, should = string(x.State), quantity(x.Target)
				if x.HeldReason != "" {
					state += " (" + x.HeldReason + ")"
				}
			}
			shows := "-"
			if l.Quantity != nil {
				shows = fmt.Sprint(*l.Quantity)
			}
			lines = append(lines, fmt.Sprintf("%-22s %8s %8s  %s", shop.ID()+" "+l.Item, should, shows, state))
		}
	}
	return lines
}
