package sync_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	"github.com/truestock/truestock/store"
	stocksync "github.com/truestock/truestock/sync"
)

var histories = flag.Int("histories", 1000, "how many histories TestAnyOrderOfDeliveriesGivesTheSameState delivers in several orders")

// ledger is the engine on a real store, with two warehouses that only send webhooks, one of each basis, and a shop for
// each. The shops are paused: what counts is what they should show.
type ledger struct {
	t      *testing.T
	store  *store.Store
	engine *stocksync.Engine
	keys   int
}

// sides are the shops, with the warehouse that gets their orders.
var sides = map[stock.ConnectionID]stock.ConnectionID{"hand": "erp", "avail": "wms"}

func newLedger(t *testing.T) *ledger {
	t.Helper()
	s, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "test.db"), store.Options{Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	shop := fake.NewShop(fake.ShopConfig{})
	t.Cleanup(shop.Close)
	var config stocksync.Config
	levels := map[stock.ConnectionID]string{"erp": "on_hand", "wms": "available"}
	for channel, record := range sides {
		conn, err := open.Info().Open(connectors.Env{Connection: record}, connectors.SystemOfRecordRole, connectors.Settings{"levels": levels[record], "webhook_secrets": secret})
		if err != nil {
			t.Fatal(err)
		}
		config.Records = append(config.Records, stocksync.Record{ID: record, Connector: "open", System: conn.(connectors.SystemOfRecord)})
		conn, err = open.Info().Open(connectors.Env{Connection: channel, Transport: fake.Transport(http.Handler(shop))}, connectors.MarketplaceRole,
			connectors.Settings{"base_url": "http://shop", "token": "token", "webhook_secrets": secret})
		if err != nil {
			t.Fatal(err)
		}
		config.Channels = append(config.Channels, stocksync.Channel{ID: channel, Connector: "open", Marketplace: conn.(connectors.Marketplace), OrdersTo: record})
	}
	l := &ledger{t: t, store: s}
	if l.engine, err = stocksync.New(config, s); err != nil {
		t.Fatal(err)
	}
	for channel := range sides {
		if err := l.engine.Pause(t.Context(), channel, "the test"); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func (l *ledger) link(rows []string) {
	l.t.Helper()
	v, err := l.engine.ImportMappings(l.t.Context(), strings.NewReader("connection,item,place,sku,units\n"+strings.Join(rows, "\n")+"\n"), "ann")
	if err != nil || len(v.Errors) > 0 {
		l.t.Fatalf("import: %v %v", err, v.Errors)
	}
}

// told is a fact on its way.
type told struct {
	from stock.ConnectionID
	fact connectors.Fact
}

// deliver stores facts, each under a key of its own, and applies them.
func (l *ledger) deliver(facts []told) {
	l.t.Helper()
	events := make([]stocksync.NewEvent, len(facts))
	for i, f := range facts {
		body, err := json.Marshal([]connectors.Fact{f.fact})
		if err != nil {
			l.t.Fatal(err)
		}
		l.keys++
		events[i] = stocksync.NewEvent{Connection: f.from, Key: "fact-" + strconv.Itoa(l.keys), Type: string(f.fact.Kind), Format: stocksync.FactsFormat, Body: body, ReceivedAt: time.Now().UTC()}
	}
	for chunk := range slices.Chunk(events, 1000) {
		if _, err := l.store.PutAll(l.t.Context(), chunk); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := l.engine.Settle(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// state is everything that the ledger has of articles and orders whose names begin with the prefix, without it: the
// documents, the levels, the commitments and what the listings should show.
func (l *ledger) state(prefix string, channel stock.ConnectionID, skus, items, orders []string) string {
	l.t.Helper()
	var b bytes.Buffer
	write := func(v any, err error) {
		if err != nil {
			fmt.Fprintln(&b, strings.ReplaceAll(err.Error(), prefix, ""))
			return
		}
		text, err := json.Marshal(v)
		if err != nil {
			l.t.Fatal(err)
		}
		b.WriteString(strings.ReplaceAll(string(text), prefix, "") + "\n")
	}
	for _, id := range orders {
		o, err := l.engine.Order(l.t.Context(), stocksync.OrderKey{Channel: channel, OrderID: prefix + id})
		o.AcceptedAt = nil
		for i := range o.Lines {
			for j := range o.Lines[i].Components {
				o.Lines[i].Components[j].Location = "" // wherever there was stock when the order came
			}
		}
		slices.SortFunc(o.Shipments, func(a, b stocksync.ShipmentView) int { return strings.Compare(a.ShipmentID, b.ShipmentID) })
		write(o, err)
	}
	for _, sku := range skus {
		v, err := l.engine.Item(l.t.Context(), stock.SKU(prefix+sku))
		for i := range v.Statements {
			v.Statements[i].At = time.Time{}
		}
		v.Levels = nil // the sums remain; a promise may stand at another location
		write(v, err)
		open, err := l.store.OpenCommitments(l.t.Context(), stock.SKU(prefix+sku), 100)
		for i := range open {
			open[i].AcceptedAt, open[i].Location = time.Time{}, ""
		}
		slices.SortFunc(open, func(a, b stocksync.Commitment) int {
			return strings.Compare(a.OrderID+" "+a.LineID, b.OrderID+" "+b.LineID)
		})
		write(open, err)
	}
	for _, item := range items {
		v, err := l.engine.Listing(l.t.Context(), stocksync.ListingKey{Connection: channel, Ref: ref(prefix + item)})
		write(v.Target, err)
	}
	return b.String()
}

// verified expects that nothing in the store contradicts anything.
func (l *ledger) verified() {
	l.t.Helper()
	v, err := l.engine.Verify(l.t.Context(), nil)
	if err != nil || !v.Sound {
		l.t.Errorf("verification: %v %+v", err, v)
	}
}

// history is what is told of two articles, a bundle of them and some orders, by one shop and its warehouse.
type history struct {
	channel stock.ConnectionID
	facts   []told
	orders  []string
}

// drawHistory makes the history of a seed, with every name beginning with the prefix.
func drawHistory(seed uint64, prefix string) history {
	rng := rand.New(rand.NewPCG(seed, 7))
	h := history{channel: "hand"}
	if rng.IntN(2) == 0 {
		h.channel = "avail"
	}
	record := sides[h.channel]
	sequence := int64(rng.IntN(3))
	position := func() stock.Position {
		sequence++
		return stock.Position{Sequenced: true, Sequence: sequence}
	}
	sku := func() string { return prefix + string("AB"[rng.IntN(2)]) }
	tell := func(from stock.ConnectionID, f connectors.Fact) { h.facts = append(h.facts, told{from, f}) }
	state := func(name string) {
		tell(record, connectors.Fact{Kind: connectors.StockLevel, Position: position(), Statement: &connectors.Statement{SKU: name, Location: "main", Quantity: stock.Quantity(rng.IntN(40))}})
	}
	state(prefix + "A")
	state(prefix + "B")
	for n := range 1 + rng.IntN(3) {
		id := strconv.Itoa(n)
		h.orders = append(h.orders, id)
		key := string(h.channel) + ":" + prefix + id
		items := []string{"A", "B", "K"}
		rng.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		items = items[:1+rng.IntN(3)]
		cancelled := map[string]stock.Quantity{}
		version := int64(0)
		for range 1 + rng.IntN(4) {
			version++
			o := connectors.Order{OrderID: prefix + id, Version: version, Status: connectors.OrderOpen,
				PlacedAt: time.Unix(1_700_000_000, 0).UTC(), UpdatedAt: time.Unix(1_700_000_000+version, 0).UTC()}
			for i, item := range items {
				if i > 0 && rng.IntN(5) == 0 {
					continue // taken out of the order
				}
				cancelled[item] += stock.Quantity(rng.IntN(5) / 3)
				o.Lines = append(o.Lines, connectors.ChannelLine{LineID: "l" + item, Ref: ref(prefix + item), Quantity: stock.Quantity(rng.IntN(7)), Cancelled: cancelled[item]})
			}
			tell(h.channel, connectors.Fact{Kind: connectors.OrderUpserted, Order: &o})
			if rng.IntN(6) == 0 { // the same version with another content
				other := o
				other.Lines = slices.Clone(o.Lines)
				other.Lines[0].Quantity++
				tell(h.channel, connectors.Fact{Kind: connectors.OrderUpserted, Order: &other})
			}
		}
		if rng.IntN(4) == 0 {
			tell(h.channel, connectors.Fact{Kind: connectors.OrderCancelled, Order: &connectors.Order{OrderID: prefix + id, Version: version + int64(rng.IntN(2))}})
		}
		line := func() (id, name string) {
			item := items[rng.IntN(len(items))]
			if item != "K" {
				return "l" + item, prefix + item
			}
			name = sku()
			return "lK/" + name, name
		}
		for range rng.IntN(5) {
			id, name := line()
			quantity := stock.Quantity(1 + rng.IntN(3))
			switch kind := []connectors.Kind{connectors.OrderAllocated, connectors.OrderAllocated, connectors.OrderDeallocated, connectors.OrderRejected,
				connectors.ShipmentShipped, connectors.ShipmentShipped}[rng.IntN(6)]; kind {
			case connectors.ShipmentShipped:
				p := position()
				tell(record, connectors.Fact{Kind: kind, Position: p, Shipment: &connectors.Shipment{ShipmentID: fmt.Sprintf("%sS%d", prefix, p.Sequence), OrderKey: key,
					Lines: []connectors.ShipmentLine{{LineID: id, SKU: name, Quantity: quantity, Location: "main"}}}})
			default:
				tell(record, connectors.Fact{Kind: kind, Position: position(), Allocation: &connectors.Allocation{OrderKey: key,
					Lines: []connectors.AllocationLine{{LineID: id, Quantity: quantity, Location: "main"}}}})
			}
		}
	}
	for range rng.IntN(5) {
		switch rng.IntN(3) {
		case 0:
			state(sku())
		case 1:
			tell(record, connectors.Fact{Kind: connectors.StockMoved, Position: position(), Movement: &connectors.Movement{SKU: sku(), Location: "main", Delta: stock.Quantity(1 + rng.IntN(9)), Reason: "receipt"}})
		default:
			p := position()
			tell(record, connectors.Fact{Kind: connectors.ReturnReceived, Position: p, Return: &connectors.Return{ReturnID: fmt.Sprintf("%sR%d", prefix, p.Sequence),
				Lines: []connectors.ReturnLine{{SKU: sku(), Location: "main", Quantity: 1, Sellable: rng.IntN(2) == 0}}}})
		}
	}
	return h
}

// permuted is the facts in another order, some of them more than once.
func permuted(facts []told, rng *rand.Rand) []told {
	out := slices.Clone(facts)
	for range rng.IntN(len(facts) + 1) {
		out = append(out, facts[rng.IntN(len(facts))])
	}
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// Many histories, each delivered in four orders with duplicates to articles of its own, through the engine and a real
// store: every order of delivery ends in the same documents, levels, commitments and numbers.
func TestAnyOrderOfDeliveriesGivesTheSameState(t *testing.T) {
	const chunk = 50
	n := *histories
	if testing.Short() {
		n = min(n, 100)
	}
	for start := 0; start < n; start += chunk {
		t.Run(strconv.Itoa(start), func(t *testing.T) { deliverHistories(t, start, min(start+chunk, n)) })
	}
}

func deliverHistories(t *testing.T, start, end int) {
	const orders = 4
	l := newLedger(t)
	var rows []string
	var queues [][]told
	for i := start; i < end; i++ {
		for p := range orders {
			prefix := fmt.Sprintf("h%d-%d.", i, p)
			h := drawHistory(uint64(i), prefix)
			for _, item := range []string{"A,,%sA,1", "B,,%sB,1", "K,,%sA,2", "K,,%sB,1"} {
				rows = append(rows, string(h.channel)+","+prefix+fmt.Sprintf(item, prefix))
			}
			facts := h.facts
			if p > 0 {
				facts = permuted(facts, rand.New(rand.NewPCG(uint64(i), uint64(p))))
			}
			queues = append(queues, facts)
		}
	}
	l.link(rows)
	l.deliver(interleaved(queues, rand.New(rand.NewPCG(uint64(start), 99))))
	for i := start; i < end; i++ {
		var first string
		for p := range orders {
			prefix := fmt.Sprintf("h%d-%d.", i, p)
			h := drawHistory(uint64(i), prefix)
			state := l.state(prefix, h.channel, []string{"A", "B"}, []string{"A", "B", "K"}, h.orders)
			if p == 0 {
				first = state
			} else if sha256.Sum256([]byte(state)) != sha256.Sum256([]byte(first)) {
				t.Fatalf("history %d ends differently in delivery %d:\n%s\nin the order in which it happened:\n%s", i, p, state, first)
			}
		}
	}
	l.verified()
}

// interleaved mixes queues and keeps the order within each, so that facts of one history share batches and do not.
func interleaved(queues [][]told, rng *rand.Rand) []told {
	var turns []int
	for i, q := range queues {
		for range q {
			turns = append(turns, i)
		}
	}
	rng.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	out := make([]told, 0, len(turns))
	next := make([]int, len(queues))
	for _, i := range turns {
		out = append(out, queues[i][next[i]])
		next[i]++
	}
	return out
}

// lives are scripted lives of one order of one article, with what the ledger and the listing must have in the end. A
// word is a fact: L10@1 states 10 at position 1, O2:5,c1 is version 2 of the order with 5 ordered, 1 cancelled, and
// likewise s shipped and r restocked as the shop counts; K is a version that is closed, X2 cancels with version 2. Of the
// warehouse are A allocated, D deallocated, J rejected, S shipped, M moved, R returned to sell, U returned broken.
var lives = []struct {
	channel, life                            string
	onHand, committed, unavailable, atp, due stock.Quantity
}{
	{"hand", "L10@1 O1:3", 10, 3, 0, 7, 7},
	{"hand", "L10@1 O1:3 X2", 10, 0, 0, 10, 10},
	{"hand", "L10@1 O1:3 O2:5", 10, 5, 0, 5, 5},
	{"hand", "L10@1 O1:5 O2:2", 10, 2, 0, 8, 8},
	{"hand", "L10@1 O1:5 O2:2 O3:4", 10, 4, 0, 6, 6},
	{"hand", "L10@1 O1:2 O2:5 O3:1", 10, 1, 0, 9, 9},
	{"hand", "L10@1 O1:5 O2:5,c2", 10, 3, 0, 7, 7},
	{"hand", "L10@1 O1:5 O2:5,c2 O3:5,c5", 10, 0, 0, 10, 10},
	{"hand", "L10@1 O1:3 S3@2", 7, 0, 0, 7, 7},
	{"hand", "L10@1 O1:3 S1@2", 9, 2, 0, 7, 7},
	{"hand", "L10@1 O1:3 S1@2 S2@3", 7, 0, 0, 7, 7},
	{"hand", "L10@1 O1:3 S3@2 L7@3", 7, 0, 0, 7, 7},
	{"hand", "L10@2 O1:3 S3@1", 10, 0, 0, 10, 10},
	{"hand", "L10@1 O1:3 S1@2 L9@3 S2@4", 7, 0, 0, 7, 7},
	{"hand", "L10@1 O1:3 S1@2 O2:3,c1", 9, 1, 0, 8, 8},
	{"hand", "L10@1 O1:3 S1@2 O2:3,c1 O3:2,c1", 9, 0, 0, 9, 9},
	{"hand", "L10@1 O1:3 S2@2 X2", 8, 0, 0, 8, 8},
	{"hand", "L10@1 O1:2 S2@2 O2:2,s2", 8, 0, 0, 8, 8},
	{"hand", "L10@1 O1:2 S2@2 O2:2,s2,r2", 8, 0, 0, 8, 8},
	{"hand", "L10@1 O1:2 S2@2 O2:2,s2,r2 R2@3", 10, 0, 0, 10, 10},
	{"hand", "L10@1 O1:2 S2@2 U1@3", 9, 0, 1, 8, 8},
	{"hand", "L10@1 O1:2 S2@2 R1@3 R1@3", 9, 0, 0, 9, 9},
	{"hand", "L10@1 O1:2 S2@2 R2@3 L10@4", 10, 0, 0, 10, 10},
	{"hand", "L10@1 O1:4 X2 O3:4", 10, 4, 0, 6, 6},
	{"hand", "L10@1 O1:3 O2:3,c3,r3", 10, 0, 0, 10, 10},
	{"hand", "L10@1 O1:3 J3@2", 10, 0, 0, 10, 10},
	{"hand", "L10@1 O1:3 J1@2 S2@3", 8, 0, 0, 8, 8},
	{"hand", "L2@1 O1:5", 2, 5, 0, -3, 0},
	{"hand", "L10@1 O1:3 S3@2 K2:3,s3", 7, 0, 0, 7, 7},
	{"hand", "L10@1 O1:3 K2:3", 10, 3, 0, 7, 7},
	{"hand", "L10@1 M5@2 O1:3", 15, 3, 0, 12, 12},
	{"hand", "L10@1 M-2@2 O1:3 S3@3", 5, 0, 0, 5, 5},
	{"hand", "L10@2 L50@1 O1:1", 10, 1, 0, 9, 9},
	{"hand", "L10@1 O1:2 S3@2", 7, 0, 0, 7, 7},
	{"avail", "L10@1 O1:3", 10, 3, 0, 7, 7},
	{"avail", "L10@1 O1:3 A3@2", 7, 0, 0, 7, 7},
	{"avail", "L10@1 O1:3 A3@2 S3@3", 7, 0, 0, 7, 7},
	{"avail", "L10@1 O1:3 A3@2 L7@3", 7, 0, 0, 7, 7},
	{"avail", "L10@1 O1:3 A3@2 D1@3", 8, 1, 0, 7, 7},
	{"avail", "L10@1 O1:3 A3@2 O2:3,c1 D1@3", 8, 0, 0, 8, 8},
	{"avail", "L10@1 O1:3 S3@2", 7, 0, 0, 7, 7},
	{"avail", "L10@1 O1:3 S1@2 L9@3 S2@4", 7, 0, 0, 7, 7},
	{"avail", "L10@1 O1:3 S3@2 A3@3", 7, 0, 0, 7, 7},
	{"avail", "L10@1 O1:3 A1@2 J2@3", 9, 0, 0, 9, 9},
	{"avail", "L10@1 O1:3 A3@2 S3@3 R2@4", 9, 0, 0, 9, 9},
	{"avail", "L10@1 O1:3 A3@2 S3@3 U2@4", 7, 0, 0, 7, 7},
	{"avail", "L10@1 O1:3 X2 A3@2 D3@3", 10, 0, 0, 10, 10},
}

// factOf reads a word of a life.
func factOf(t *testing.T, word string, channel stock.ConnectionID, prefix string) told {
	t.Helper()
	number := func(text string) int64 {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", word, err)
		}
		return n
	}
	sku, order, record := prefix+"A", prefix+"0", sides[channel]
	if word[0] == 'X' {
		return told{channel, connectors.Fact{Kind: connectors.OrderCancelled, Order: &connectors.Order{OrderID: order, Version: number(word[1:])}}}
	}
	if version, rest, is := strings.Cut(word[1:], ":"); is {
		o := connectors.Order{OrderID: order, Version: number(version), Status: connectors.OrderOpen, PlacedAt: time.Unix(1_700_000_000, 0).UTC()}
		if word[0] == 'K' {
			o.Status = connectors.OrderClosed
		}
		parts := strings.Split(rest, ",")
		line := connectors.ChannelLine{LineID: "1", Ref: ref(sku), Quantity: stock.Quantity(number(parts[0]))}
		for _, p := range parts[1:] {
			q := stock.Quantity(number(p[1:]))
			switch p[0] {
			case 'c':
				line.Cancelled = q
			case 's':
				line.Shipped = q
			case 'r':
				line.Restocked = q
			}
		}
		o.Lines = []connectors.ChannelLine{line}
		return told{channel, connectors.Fact{Kind: connectors.OrderUpserted, Order: &o}}
	}
	quantity, place, _ := strings.Cut(word[1:], "@")
	q := stock.Quantity(number(quantity))
	f := connectors.Fact{Position: stock.Position{Sequenced: true, Sequence: number(place)}}
	key := string(channel) + ":" + order
	switch word[0] {
	case 'L':
		f.Kind, f.Statement = connectors.StockLevel, &connectors.Statement{SKU: sku, Location: "main", Quantity: q}
	case 'M':
		f.Kind, f.Movement = connectors.StockMoved, &connectors.Movement{SKU: sku, Location: "main", Delta: q, Reason: "adjustment"}
	case 'S':
		f.Kind = connectors.ShipmentShipped
		f.Shipment = &connectors.Shipment{ShipmentID: prefix + "S" + place, OrderKey: key, Lines: []connectors.ShipmentLine{{LineID: "1", SKU: sku, Quantity: q, Location: "main"}}}
	case 'R', 'U':
		f.Kind = connectors.ReturnReceived
		f.Return = &connectors.Return{ReturnID: prefix + "R" + place, Lines: []connectors.ReturnLine{{SKU: sku, Location: "main", Quantity: q, Sellable: word[0] == 'R'}}}
	default:
		f.Kind = map[byte]connectors.Kind{'A': connectors.OrderAllocated, 'D': connectors.OrderDeallocated, 'J': connectors.OrderRejected}[word[0]]
		f.Allocation = &connectors.Allocation{OrderKey: key, Lines: []connectors.AllocationLine{{LineID: "1", Quantity: q, Location: "main"}}}
	}
	return told{record, f}
}

// Scripted lives of an order, each in the order in which it happened and in nine others with duplicates, end with the
// numbers that a person worked out.
func TestScriptedLivesOfAnOrder(t *testing.T) {
	const orders = 10
	l := newLedger(t)
	var rows []string
	var queues [][]told
	for i, life := range lives {
		channel := stock.ConnectionID(life.channel)
		for p := range orders {
			prefix := fmt.Sprintf("l%d-%d.", i, p)
			rows = append(rows, fmt.Sprintf("%s,%sA,,%sA,1", channel, prefix, prefix))
			var facts []told
			for word := range strings.FieldsSeq(life.life) {
				facts = append(facts, factOf(t, word, channel, prefix))
			}
			if p > 0 {
				facts = permuted(facts, rand.New(rand.NewPCG(uint64(i), uint64(p))))
			}
			queues = append(queues, facts)
		}
	}
	l.link(rows)
	l.deliver(interleaved(queues, rand.New(rand.NewPCG(1, 1))))
	for i, life := range lives {
		for p := range orders {
			prefix := fmt.Sprintf("l%d-%d.", i, p)
			v, err := l.engine.Item(t.Context(), stock.SKU(prefix+"A"))
			if err != nil {
				t.Fatal(err)
			}
			listing, err := l.engine.Listing(t.Context(), stocksync.ListingKey{Connection: stock.ConnectionID(life.channel), Ref: ref(prefix + "A")})
			if err != nil {
				t.Fatal(err)
			}
			if v.OnHand != life.onHand || v.Committed != life.committed || v.Unavailable != life.unavailable || v.Available != life.atp ||
				listing.Target == nil || *listing.Target != life.due {
				t.Errorf("%s %s, delivery %d: on hand %d, committed %d, unavailable %d, available %d, to show %s; want %d, %d, %d, %d, %d", life.channel, life.life, p,
					v.OnHand, v.Committed, v.Unavailable, v.Available, text(listing.Target), life.onHand, life.committed, life.unavailable, life.atp, life.due)
			}
		}
	}
	l.verified()
}
