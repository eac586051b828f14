package simtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	"github.com/truestock/truestock/store"
	stocksync "github.com/truestock/truestock/sync"
)

// checkReplay (G7, G8): what came in, given to a new engine in another order and in parts twice, leads to the same
// state. The new engine reaches nothing but what the systems say of themselves.
func (s *sim) checkReplay(path string) {
	if s.engine == nil || len(s.dead) > 0 || len(s.remapped) > 0 || s.o.Bug != "" {
		return // a line keeps the mapping of its time, which a replay does not know
	}
	ctx := context.Background()
	events, err := s.recorded(ctx)
	if err != nil {
		s.violate("read the inbox: %v", err)
		return
	}
	r := s.dice("replay")
	r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	db, err := store.Open(ctx, "sqlite:"+path, store.Options{Connections: 1})
	if err == nil {
		err = db.Migrate(ctx)
	}
	if err != nil {
		s.violate("open a second database: %v", err)
		return
	}
	defer func() {
		if err := db.Close(); err != nil {
			s.violate("close a second database: %v", err)
		}
	}()
	engine, closeAll, err := s.hermit(db)
	if err != nil {
		s.violate("%v", err)
		return
	}
	defer closeAll()
	if err := s.feed(ctx, db, engine, events); err != nil {
		s.violate("replay: %v", err)
		return
	}
	s.compare(ctx, engine)
}

// recorded is everything in the inbox.
func (s *sim) recorded(ctx context.Context) ([]stocksync.NewEvent, error) {
	var out []stocksync.NewEvent
	var after int64
	for {
		rows, err := s.store.Events(ctx, stocksync.EventQuery{After: after, Limit: 500})
		if err != nil || len(rows) == 0 {
			return out, err
		}
		for _, row := range rows {
			e, _, _, err := s.store.EventByID(ctx, row.ID)
			if err != nil {
				return nil, err
			}
			out = append(out, e.NewEvent)
			after = row.ID
		}
	}
}

// lonely lets through what a system says of itself.
type lonely struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (l lonely) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodGet && req.URL.Path == "/capabilities" {
		return l.next.RoundTrip(req)
	}
	closeBody(req)
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
}

// hermit makes an engine of the same configuration that reaches nobody.
func (s *sim) hermit(db *store.Store) (*stocksync.Engine, func(), error) {
	var closers []connectors.Connection
	closeAll := func() {
		for _, c := range closers {
			_ = c.Close()
		}
	}
	connect := func(name string, role connectors.Role, server http.Handler) (connectors.Connection, error) {
		conn, err := open.Info().Open(connectors.Env{Connection: stock.ConnectionID(name), Transport: lonely{fake.Transport(server)}, Timeout: callTimeout}, role,
			connectors.Settings{"base_url": "http://" + name, "token": "token", "webhook_secrets": secret})
		if err == nil {
			closers = append(closers, conn)
		}
		return conn, err
	}
	var cfg stocksync.Config
	record, err := connect(recordName, connectors.SystemOfRecordRole, s.warehouse)
	if err != nil {
		return nil, closeAll, err
	}
	cfg.Records = []stocksync.Record{{ID: recordName, Connector: "open", System: record.(connectors.SystemOfRecord)}}
	for _, spec := range s.world.shops {
		shop, err := connect(spec.name, connectors.MarketplaceRole, s.shops[spec.name])
		if err != nil {
			return nil, closeAll, err
		}
		cfg.Channels = append(cfg.Channels, stocksync.Channel{ID: stock.ConnectionID(spec.name), Connector: "open", OrdersTo: recordName, Policy: spec.policy,
			Marketplace: shop.(connectors.Marketplace)})
	}
	engine, err := stocksync.New(cfg, db)
	return engine, closeAll, err
}

// feed gives an engine the mapping, the articles and the events, some of them twice, and lets it work them off.
func (s *sim) feed(ctx context.Context, db *store.Store, engine *stocksync.Engine, events []stocksync.NewEvent) error {
	items := make([]connectors.Item, 0, len(s.world.articles))
	for _, a := range s.world.articles {
		items = append(items, connectors.Item{SKU: a.sku})
	}
	if err := db.SaveItems(ctx, items, events[0].ReceivedAt); err != nil {
		return err
	}
	var rows strings.Builder
	rows.WriteString("connection,item,place,sku,units\n")
	for i := range s.world.listings {
		rows.WriteString(s.rows(i))
	}
	if v, err := engine.ImportMappings(ctx, strings.NewReader(rows.String()), "operator"); err != nil || len(v.Errors) > 0 {
		return fmt.Errorf("import the mapping: %v %w", v.Errors, err)
	}
	if err := s.tellServices(ctx, engine); err != nil {
		return err
	}
	third := len(events) / 3
	for _, part := range [][]stocksync.NewEvent{events[:third], events[third:], events[:2*third]} {
		if _, err := db.PutAll(ctx, part); err != nil {
			return err
		}
		if err := engine.Settle(ctx); err != nil {
			return err
		}
	}
	// What came before that which it refers to waits for a person to replay it.
	for range 3 {
		parked, err := engine.Events(ctx, stocksync.EventParked, 0, 1000)
		if err != nil || len(parked) == 0 {
			return err
		}
		for _, e := range parked {
			var id int64
			if _, err := fmt.Sscan(e.ID, &id); err != nil {
				return err
			}
			if err := engine.Replay(ctx, id, "operator"); err != nil {
				return err
			}
		}
		if err := engine.Settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// compare demands that two engines know the same.
func (s *sim) compare(ctx context.Context, other *stocksync.Engine) {
	for _, a := range s.world.plain() { // the new engine was told of no rule
		mine, err := s.engine.Item(ctx, stock.SKU(a.sku))
		theirs, err2 := other.Item(ctx, stock.SKU(a.sku))
		if err := errors.Join(err, err2); err != nil {
			s.violate("compare %s: %v", a.sku, err)
			continue
		}
		if mine.OnHand != theirs.OnHand || mine.Committed != theirs.Committed || mine.Unavailable != theirs.Unavailable || mine.Available != theirs.Available {
			s.violate("in another order the facts about %s lead to on hand %d, committed %d, unavailable %d, available %d instead of %d, %d, %d, %d", a.sku,
				theirs.OnHand, theirs.Committed, theirs.Unavailable, theirs.Available, mine.OnHand, mine.Committed, mine.Unavailable, mine.Available)
		}
	}
	for _, spec := range s.world.shops {
		for _, o := range s.shops[spec.name].Orders() {
			key := stocksync.OrderKey{Channel: stock.ConnectionID(spec.name), OrderID: o.OrderID}
			mine, err := s.engine.Order(ctx, key)
			theirs, err2 := other.Order(ctx, key)
			if errors.Is(err, stocksync.ErrNotFound) && errors.Is(err2, stocksync.ErrNotFound) {
				continue
			}
			if a, b := digest(mine), digest(theirs); err != nil || err2 != nil || a != b {
				s.violate("in another order the facts about order %s lead to %s instead of %s (%v %v)", o.OrderID, b, a, err, err2)
			}
		}
	}
}

func digest(o stocksync.OrderView) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s version %d", o.Status, o.Version)
	for _, l := range o.Lines {
		fmt.Fprintf(&text, "; line %s %d-%d sent %d restocked %d", l.LineID, l.Ordered, l.Cancelled, l.Shipped, l.Restocked)
		for _, c := range l.Components {
			fmt.Fprintf(&text, " %s %d committed %d deducted %d", c.SKU, c.Units, c.Committed, c.Deducted)
		}
	}
	return text.String()
}
