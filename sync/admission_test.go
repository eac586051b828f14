package sync_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// platform shows no quantity: it asks before each sale, and sells when it is answered admit.
type platform struct{}

var placed = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// question is what it asks: an order as it would stand, by an id of its own.
type question struct {
	ID    string           `json:"id"`
	Order connectors.Order `json:"order"`
}

func (platform) Check(context.Context) error { return nil }
func (platform) Close() error                { return nil }

func (platform) Capabilities(context.Context) (connectors.MarketplaceCapabilities, error) {
	return connectors.MarketplaceCapabilities{Class: connectors.AsksFirst, BatchSize: 1}, nil
}

func (platform) Listings(context.Context, connectors.Cursor) (connectors.Page[connectors.Listing], error) {
	return connectors.Page[connectors.Listing]{}, nil
}

func (platform) ReadStock(context.Context, []connectors.Ref) ([]connectors.Reading, error) {
	panic("it shows no quantity")
}

func (platform) WriteStock(context.Context, []connectors.Write) ([]connectors.Result, error) {
	panic("it takes no quantity")
}

func (platform) Orders(context.Context, time.Time, connectors.Cursor) (connectors.OrderPage, error) {
	return connectors.OrderPage{Watermark: time.Now().UTC()}, nil
}

func (platform) VerifyWebhook(r connectors.Request) (connectors.Delivery, error) {
	var q question
	err := json.Unmarshal(r.Body, &q)
	return connectors.Delivery{Key: q.ID, Type: "ask"}, err
}

func (platform) DecodeWebhook(_ connectors.Delivery, body []byte) (connectors.Notice, error) {
	var q question
	err := json.Unmarshal(body, &q)
	return connectors.Notice{Asks: true, Facts: []connectors.Fact{{Kind: connectors.OrderUpserted, Order: &q.Order}}}, err
}

func (platform) AnswerAdmission(_ connectors.Delivery, a connectors.Admission) connectors.Reply {
	return connectors.Reply{Status: http.StatusOK, Body: []byte(a.Decision)}
}

// telling takes the decision by a call, and the reply for a receipt only.
type telling struct {
	platform
	down *atomic.Bool
	told *[]connectors.Decision
}

func (p telling) WriteAdmission(_ context.Context, _ connectors.Delivery, a connectors.Admission) error {
	if p.down.Load() {
		return &connectors.Error{Kind: connectors.Retryable, Op: "tell the decision", Err: errors.New("the platform is down")}
	}
	*p.told = append(*p.told, a.Decision)
	return nil
}

// asking is a house in which a platform asks for X, of which the warehouse has some; shop a sells it too.
func asking(t *testing.T, rules stocksync.AdmissionRules, test func(h *house)) {
	t.Helper()
	askingBy(t, platform{}, rules, test)
}

func askingBy(t *testing.T, by connectors.Marketplace, rules stocksync.AdmissionRules, test func(h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}})
		defer h.close()
		h.config.Channels = append(h.config.Channels, stocksync.Channel{ID: "cloud", Connector: "platform", OrdersTo: "erp", Marketplace: by, Admission: rules})
		test(h)
	})
}

// ask asks for so many of an item, and returns the answer.
func (h *house) ask(id, order string, version int64, item string, quantity stock.Quantity) string {
	h.t.Helper()
	body, err := json.Marshal(question{ID: id, Order: connectors.Order{OrderID: order, Version: version, PlacedAt: placed, Status: connectors.OrderOpen,
		Lines: []connectors.ChannelLine{{LineID: "1", Ref: ref(item), Quantity: quantity}}}})
	must(h.t, err)
	r, err := h.engine.Receive(h.ctx, "cloud", connectors.Request{Method: http.MethodPost, Body: body})
	if err != nil || r.Reply == nil {
		h.t.Errorf("question %s: %+v, %v", id, r, err)
		return ""
	}
	return string(r.Reply.Body)
}

// undecided checks how many incidents about questions are open.
func (h *house) undecided(want int) {
	h.t.Helper()
	if n := h.incidents(stocksync.IncidentUndecided); n != want {
		h.t.Errorf("%d incidents about questions are open, want %d", n, want)
	}
}

func TestQuestionsAreDecidedOneByOne(t *testing.T) {
	asking(t, stocksync.AdmissionRules{}, func(h *house) {
		h.start()
		h.stocked("X", 5)
		h.link("cloud,X,,X,1")
		h.settled()

		answers := make([]string, 8)
		var group sync.WaitGroup
		for i := range answers {
			group.Go(func() { answers[i] = h.ask(fmt.Sprint("q", i), fmt.Sprint("o", i), 1, "X", 1) })
		}
		group.Wait()
		admitted := 0
		for _, a := range answers {
			if a == "admit" {
				admitted++
			} else if a != "refuse" {
				t.Errorf("an answer is %q", a)
			}
		}
		if admitted != 5 {
			t.Errorf("%d of 8 are admitted, of 5 that are there: %v", admitted, answers)
		}
		h.settled()
		h.shows("a", "X", 0)
		h.item("X", 5, 5, 0)

		// Whatever has happened since, the same question has the same answer, and a new one is decided anew.
		must(t, h.warehouse.Receive("X", "main", 2))
		h.settled()
		refused := slices.Index(answers, "refuse")
		for i := range answers {
			if again := h.ask(fmt.Sprint("q", i), fmt.Sprint("o", i), 1, "X", 1); again != answers[i] {
				t.Errorf("question %d is answered %q again, %q before", i, again, answers[i])
			}
		}
		if a := h.ask("anew", fmt.Sprint("o", refused), 1, "X", 1); a != "admit" {
			t.Errorf("with 2 there, 1 is answered %q", a)
		}

		// Of an order that grows, what it has already is not asked for twice.
		held := slices.Index(answers, "admit")
		if a := h.ask("more", fmt.Sprint("o", held), 2, "X", 3); a != "refuse" {
			t.Errorf("with 1 there, 2 more are answered %q", a)
		}
		if a := h.ask("one more", fmt.Sprint("o", held), 3, "X", 2); a != "admit" {
			t.Errorf("with 1 there, 1 more is answered %q", a)
		}
		h.settled()
		h.item("X", 7, 7, 0)
		if orders := h.warehouse.Orders(); len(orders) != 6 {
			t.Errorf("the warehouse has %d orders, want those of the 6 that were admitted", len(orders))
		}
	})
}

func TestLinesThatShareAnArticleAreDecidedTogether(t *testing.T) {
	asking(t, stocksync.AdmissionRules{}, func(h *house) {
		h.start()
		h.stocked("X", 5)
		h.link("cloud,single,,X,1", "cloud,pair,,X,2")
		h.settled()
		ask := func(id string, single, pair stock.Quantity) string {
			body, err := json.Marshal(question{ID: id, Order: connectors.Order{OrderID: id, Version: 1, PlacedAt: placed, Status: connectors.OrderOpen,
				Lines: []connectors.ChannelLine{{LineID: "1", Ref: ref("single"), Quantity: single}, {LineID: "2", Ref: ref("pair"), Quantity: pair}}}})
			must(t, err)
			r, err := h.engine.Receive(h.ctx, "cloud", connectors.Request{Method: http.MethodPost, Body: body})
			must(t, err)
			return string(r.Reply.Body)
		}
		if a := ask("six", 2, 2); a != "refuse" {
			t.Errorf("6 of 5 in two lines: %s", a)
		}
		if a := ask("five", 1, 2); a != "admit" {
			t.Errorf("5 of 5 in two lines: %s", a)
		}
		h.settled()
		h.item("X", 5, 5, 0)
	})
}

func TestWhatIsNotKnownIsAnsweredByTheDefault(t *testing.T) {
	for _, byDefault := range []connectors.Decision{connectors.Refuse, connectors.Admit} {
		t.Run(string(byDefault), func(t *testing.T) {
			asking(t, stocksync.AdmissionRules{Deadline: 3 * time.Second, Default: byDefault}, func(h *house) {
				h.start()
				h.stocked("X", 5)
				h.settled()
				if a := h.ask("unmapped", "o1", 1, "X", 1); a != string(byDefault) {
					t.Errorf("of a listing that is not mapped: %s", a)
				}
				h.undecided(1)
				h.link("cloud,X,,X,1")
				h.settled()
				if a := h.ask("mapped", "o2", 1, "X", 1); a != "admit" {
					t.Errorf("of one that is: %s", a)
				}
				h.undecided(0)
			})
		})
	}
}

// A question that cannot be applied in time has the default for its answer, and for ever.
func TestADecisionForWantOfTimeHolds(t *testing.T) {
	for _, byDefault := range []connectors.Decision{connectors.Refuse, connectors.Admit} {
		t.Run(string(byDefault), func(t *testing.T) {
			asking(t, stocksync.AdmissionRules{Deadline: 3 * time.Second, Default: byDefault}, func(h *house) {
				h.trouble.setDown("erp", true) // as long as it is not known what its numbers mean, nothing is applied
				h.start()
				h.stocked("X", 5)
				h.link("cloud,X,,X,1")
				began := time.Now()
				if a := h.ask("q", "o", 1, "X", 2); a != string(byDefault) {
					t.Errorf("the answer is %s", a)
				}
				if took := time.Since(began); took != 3*time.Second {
					t.Errorf("it took %s", took)
				}
				h.undecided(1)
				h.trouble.setDown("erp", false)
				h.settled()
				if a := h.ask("q", "o", 1, "X", 2); a != string(byDefault) {
					t.Errorf("the answer is %s later", a)
				}
				committed := stock.Quantity(0)
				if byDefault == connectors.Admit {
					committed = 2
				}
				h.item("X", 5, committed, 5-committed)
			})
		})
	}
}

// A decision that could not be told stands: the question is to be sent again, and then has it.
func TestADecisionIsToldByACall(t *testing.T) {
	p := telling{down: new(atomic.Bool), told: new([]connectors.Decision)}
	askingBy(t, p, stocksync.AdmissionRules{}, func(h *house) {
		h.start()
		h.stocked("X", 2)
		h.link("cloud,X,,X,1")
		h.settled()
		body, err := json.Marshal(question{ID: "q", Order: connectors.Order{OrderID: "o", Version: 1, PlacedAt: placed, Status: connectors.OrderOpen,
			Lines: []connectors.ChannelLine{{LineID: "1", Ref: ref("X"), Quantity: 2}}}})
		must(t, err)
		p.down.Store(true)
		for range 2 {
			r, err := h.engine.Receive(h.ctx, "cloud", connectors.Request{Method: http.MethodPost, Body: body})
			if connectors.KindOf(err) != connectors.Retryable || r.Reply != nil {
				t.Errorf("not told, the answer is %+v, %v", r, err)
			}
		}
		h.settled()
		h.item("X", 2, 2, 0)
		p.down.Store(false)
		if a := h.ask("q", "o", 1, "X", 2); a != "admit" {
			t.Errorf("told at last, the answer is %s", a)
		}
		if a := h.ask("other", "o2", 1, "X", 1); a != "refuse" {
			t.Errorf("with none left, the answer is %s", a)
		}
		if !slices.Equal(*p.told, []connectors.Decision{connectors.Admit, connectors.Refuse}) {
			t.Errorf("told: %v", *p.told)
		}
		h.item("X", 2, 2, 0)
	})
}
