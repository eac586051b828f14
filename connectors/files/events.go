package files

import (
	"fmt"
	"strconv"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// The kinds of rows of a file of events.
const (
	kindShipped     = "shipped"     // goods left for an order
	kindReceived    = "received"    // goods came in
	kindAdjusted    = "adjusted"    // the number was corrected, by a quantity that may be below 0
	kindReturned    = "returned"    // goods came back
	kindAllocated   = "allocated"   // goods were set aside for an order
	kindDeallocated = "deallocated" // and given back
	kindRejected    = "rejected"    // an order, or a part of it, will not be delivered
)

// parseEvents reads a file of events, whole or not at all. Each row is a fact of its own, with a position of its own;
// rows of one shipment or return have the same id.
func (r *record) parseEvents(name string, data []byte) ([]connectors.Fact, []string) {
	at, sequence, _ := stamp(name, eventsPrefix)
	t, problems := r.parseTable(data, "kind", "sku", "quantity")
	if len(t.rows) > rowsPerFile-1 {
		problems = append(problems, fmt.Sprintf("the file has %d rows; at most %d are taken", len(t.rows), rowsPerFile-1))
	}
	var facts []connectors.Fact
	shipments, returns := make(map[string]int), make(map[string]int)
	for i, row := range t.rows {
		f, err := r.event(row)
		if err == nil {
			f.Position = stock.Position{Sequenced: true, Sequence: sequence*rowsPerFile + int64(i) + 1, SourceAt: eventTime(row["at"], at)}
			err = f.Validate()
		}
		if err != nil {
			problems = append(problems, fmt.Sprintf("line %d: %v", t.lines[i], err))
			continue
		}
		// The lines of a shipment or a return belong together: the fact is of its first row.
		switch {
		case f.Shipment != nil:
			if n, known := shipments[f.Shipment.ShipmentID]; known {
				facts[n].Shipment.Lines = append(facts[n].Shipment.Lines, f.Shipment.Lines...)
				continue
			}
			shipments[f.Shipment.ShipmentID] = len(facts)
		case f.Return != nil:
			if n, known := returns[f.Return.ReturnID]; known {
				facts[n].Return.Lines = append(facts[n].Return.Lines, f.Return.Lines...)
				continue
			}
			returns[f.Return.ReturnID] = len(facts)
		}
		facts = append(facts, f)
	}
	return facts, problems
}

// eventTime is the instant in a row, else the file's.
func eventTime(text string, file time.Time) time.Time {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at.UTC()
	}
	return file
}

// event reads one row.
func (r *record) event(row map[string]string) (connectors.Fact, error) {
	location := row["location"]
	if location == "" {
		location = r.location
	}
	q, err := whole(row["quantity"])
	if err != nil {
		return connectors.Fact{}, err
	}
	if text := row["at"]; text != "" {
		if _, err := time.Parse(time.RFC3339, text); err != nil {
			return connectors.Fact{}, fmt.Errorf("at is %.40q: write an instant such as 2026-11-26T01:30:00Z, or leave it empty", text)
		}
	}
	kind := row["kind"]
	if kind != kindAdjusted && q < 0 {
		return connectors.Fact{}, fmt.Errorf("quantity is %d: only adjusted takes a number below 0", q)
	}
	switch kind {
	case kindShipped:
		return connectors.Fact{Kind: connectors.ShipmentShipped, Shipment: &connectors.Shipment{ShipmentID: row["id"], OrderKey: row["order_key"],
			Carrier: row["carrier"], Tracking: row["tracking"],
			Lines: []connectors.ShipmentLine{{LineID: row["line_id"], SKU: row["sku"], Quantity: q, Location: location}}}}, nil
	case kindReceived, kindAdjusted:
		return connectors.Fact{Kind: connectors.StockMoved, Movement: &connectors.Movement{SKU: row["sku"], Location: location, Delta: q, Reason: kind}}, nil
	case kindReturned:
		sellable, err := strconv.ParseBool(orTrue(row["sellable"]))
		if err != nil {
			return connectors.Fact{}, fmt.Errorf("sellable is %.40q: write true or false", row["sellable"])
		}
		return connectors.Fact{Kind: connectors.ReturnReceived, Return: &connectors.Return{ReturnID: row["id"], OrderKey: row["order_key"],
			Lines: []connectors.ReturnLine{{SKU: row["sku"], Quantity: q, Location: location, Sellable: sellable}}}}, nil
	case kindAllocated, kindDeallocated, kindRejected:
		facts := map[string]connectors.Kind{kindAllocated: connectors.OrderAllocated, kindDeallocated: connectors.OrderDeallocated, kindRejected: connectors.OrderRejected}
		return connectors.Fact{Kind: facts[kind], Allocation: &connectors.Allocation{OrderKey: row["order_key"],
			Lines: []connectors.AllocationLine{{LineID: row["line_id"], Quantity: q, Location: location}}}}, nil
	default:
		return connectors.Fact{}, fmt.Errorf("kind is %.40q: write %s, %s, %s, %s, %s, %s or %s", kind, kindShipped, kindReceived, kindAdjusted, kindReturned, kindAllocated, kindDeallocated, kindRejected)
	}
}

func orTrue(text string) string {
	if text == "" {
		return "true"
	}
	return text
}
