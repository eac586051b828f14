package web_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
	"github.com/truestock/truestock/web"
)

// memoryEngine is an engine that keeps everything in maps. It verifies signatures for real.
type memoryEngine struct {
	mu       sync.Mutex
	secrets  map[stock.ConnectionID]*standardwebhooks.Webhook
	ids      map[string]int64 // connection and webhook id
	events   []stocksync.EventView
	items    []stocksync.ItemRow
	listings []stocksync.ListingView
	plans    []stocksync.PlanView
	// remedy is what was chosen for the one affected line.
	remedy *stocksync.RemedyView
	// incidents are those that are open; explained is what Explain tells of a listing that is known.
	incidents []stocksync.IncidentView
	explained stocksync.Explanation
	tokens    map[string]stocksync.Token
	paused    map[stock.ConnectionID]string
	settings  map[stocksync.SettingKind]map[string]stocksync.SettingView
	raises    map[stock.ConnectionID]string
	imported  string
	revealed  map[int64]string
	asked     []stocksync.ListingKey
	at        time.Time
	dryRun    bool
	calls     map[string]int

	// fail is returned by everything, where set; block is waited for by Receive; panics makes Item panic.
	fail   error
	block  chan struct{}
	panics bool
	inside chan struct{}
}

func newEngine(t testing.TB) *memoryEngine {
	t.Helper()
	e := &memoryEngine{
		secrets:  map[stock.ConnectionID]*standardwebhooks.Webhook{},
		ids:      map[string]int64{},
		tokens:   map[string]stocksync.Token{},
		paused:   map[stock.ConnectionID]string{},
		settings: map[stocksync.SettingKind]map[string]stocksync.SettingView{},
		calls:    map[string]int{},
		raises:   map[stock.ConnectionID]string{},
	}
	for _, name := range []stock.ConnectionID{"shop", "erp"} {
		wh, err := standardwebhooks.NewWebhookRaw([]byte("secret of " + string(name) + " 0123456789abcdef"))
		if err != nil {
			t.Fatal(err)
		}
		e.secrets[name] = wh
	}
	for i, scope := range []stocksync.Scope{stocksync.ScopeRead, stocksync.ScopeOperate, stocksync.ScopeAdmin} {
		e.tokens["ts_"+string(scope)] = stocksync.Token{ID: int64(i + 1), Name: "the " + string(scope) + " token", Scope: scope}
	}
	return e
}

func (e *memoryEngine) enter(call string) (unlock func(), err error) {
	e.mu.Lock()
	e.calls[call]++
	return e.mu.Unlock, e.fail
}

func (e *memoryEngine) Receive(ctx context.Context, connection stock.ConnectionID, r connectors.Request) (stocksync.Receipt, error) {
	header, body := r.Header, r.Body
	if e.inside != nil {
		e.inside <- struct{}{}
	}
	if e.block != nil {
		select {
		case <-e.block:
		case <-ctx.Done():
			return stocksync.Receipt{}, ctx.Err()
		}
	}
	unlock, err := e.enter("receive")
	defer unlock()
	if err != nil {
		return stocksync.Receipt{}, err
	}
	wh, ok := e.secrets[connection]
	if !ok {
		return stocksync.Receipt{}, fmt.Errorf("%w: %q", stocksync.ErrUnknownConnection, connection)
	}
	if r.RawQuery == "ping" {
		return stocksync.Receipt{Reply: &connectors.Reply{Status: http.StatusOK, Header: http.Header{"X-Echo": {r.Method}}, Body: []byte("pong")}}, nil
	}
	if r.Method != http.MethodPost {
		return stocksync.Receipt{}, &stocksync.MethodError{Connection: connection, Methods: []string{http.MethodPost}, Method: r.Method}
	}
	if err := wh.Verify(body, header); err != nil {
		err = fmt.Errorf("%w: %w", connectors.ErrSignature, err)
		if r.RawQuery == "worded" {
			return stocksync.Receipt{}, &stocksync.AnsweredError{Err: err, Reply: connectors.Reply{Status: http.StatusOK, Body: []byte("000001")}}
		}
		return stocksync.Receipt{}, err
	}
	var envelope struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil || envelope.Type == "" {
		return stocksync.Receipt{}, fmt.Errorf("%w: it has no type", connectors.ErrEnvelope)
	}
	key := string(connection) + ":" + header.Get("webhook-id")
	if id, ok := e.ids[key]; ok {
		same := e.events[id-1].Body == string(body)
		return stocksync.Receipt{ID: id, Duplicate: same, Conflict: !same}, nil
	}
	id := int64(len(e.events) + 1)
	e.ids[key] = id
	e.events = append(e.events, stocksync.EventView{ID: strconv.FormatInt(id, 10), Connection: connection, Type: envelope.Type,
		Key: header.Get("webhook-id"), State: stocksync.EventParked, Body: string(body)})
	if r.RawQuery == "worded" {
		return stocksync.Receipt{ID: id, Reply: &connectors.Reply{Status: http.StatusOK, Body: []byte("000000")}}, nil
	}
	return stocksync.Receipt{ID: id}, nil
}

func (e *memoryEngine) Item(_ context.Context, sku stock.SKU) (stocksync.ItemView, error) {
	unlock, err := e.enter("item")
	defer unlock()
	if e.panics {
		panic("the internals " + sku)
	}
	if err != nil {
		return stocksync.ItemView{}, err
	}
	for _, row := range e.items {
		if row.SKU == sku {
			return stocksync.ItemView{SKU: sku, Kind: "physical", Mode: "finite", OnHand: 5}, nil
		}
	}
	return stocksync.ItemView{}, fmt.Errorf("item %q: %w", sku, stocksync.ErrNotFound)
}

func (e *memoryEngine) Items(_ context.Context, search string, after stock.SKU, limit int) ([]stocksync.ItemRow, error) {
	unlock, err := e.enter("items")
	defer unlock()
	var rows []stocksync.ItemRow
	for _, row := range e.items {
		if row.SKU > after && strings.Contains(string(row.SKU), search) && len(rows) < limit {
			rows = append(rows, row)
		}
	}
	return rows, err
}

func (e *memoryEngine) Listings(_ context.Context, q stocksync.ListingQuery, state stocksync.ListingState) ([]stocksync.ListingView, *stocksync.ListingKey, error) {
	unlock, err := e.enter("listings")
	defer unlock()
	var rows []stocksync.ListingView
	for _, l := range e.listings {
		key := keyOf(l)
		past := cmp.Or(cmp.Compare(key.Connection, q.After.Connection), key.Ref.Compare(q.After.Ref)) > 0
		if !past || q.Connection != "" && l.Connection != q.Connection || state != "" && l.State != state || !strings.Contains(l.Item+l.Title, q.Search) {
			continue
		}
		if len(rows) == q.Limit {
			last := keyOf(rows[q.Limit-1])
			return rows, &last, err
		}
		rows = append(rows, l)
	}
	return rows, nil, err
}

func keyOf(l stocksync.ListingView) stocksync.ListingKey {
	return stocksync.ListingKey{Connection: l.Connection, Ref: connectors.Ref{Item: l.Item, Place: l.Place}}
}

func (e *memoryEngine) Listing(_ context.Context, key stocksync.ListingKey) (stocksync.ListingView, error) {
	unlock, err := e.enter("listing")
	defer unlock()
	e.asked = append(e.asked, key)
	if err != nil {
		return stocksync.ListingView{}, err
	}
	for _, l := range e.listings {
		if keyOf(l) == key {
			return l, nil
		}
	}
	return stocksync.ListingView{}, stocksync.ErrNotFound
}

func (e *memoryEngine) Explain(_ context.Context, key stocksync.ListingKey, at time.Time) (stocksync.Explanation, error) {
	unlock, err := e.enter("explain")
	defer unlock()
	e.asked, e.at = append(e.asked, key), at
	if key.Connection == "nowhere" {
		return stocksync.Explanation{}, stocksync.ErrUnknownConnection
	}
	x := e.explained
	x.Connection, x.Item, x.Place, x.At = key.Connection, key.Item, key.Place, at
	return x, err
}

func (e *memoryEngine) Event(_ context.Context, id int64) (stocksync.EventView, error) {
	unlock, err := e.enter("event")
	defer unlock()
	if err != nil {
		return stocksync.EventView{}, err
	}
	if id > int64(len(e.events)) {
		return stocksync.EventView{}, stocksync.ErrNotFound
	}
	return e.events[id-1], nil
}

func (e *memoryEngine) Events(_ context.Context, state stocksync.EventState, after int64, limit int) ([]stocksync.EventView, error) {
	unlock, err := e.enter("events")
	defer unlock()
	var rows []stocksync.EventView
	for i, v := range e.events {
		if int64(i+1) > after && (state == "" || v.State == state) && len(rows) < limit {
			rows = append(rows, v)
		}
	}
	return rows, err
}

func (e *memoryEngine) Replay(_ context.Context, id int64, _ string) error {
	unlock, err := e.enter("replay")
	defer unlock()
	if id > int64(len(e.events)) {
		return stocksync.ErrNotFound
	}
	e.events[id-1].State = stocksync.EventPending
	return err
}

func (e *memoryEngine) Order(_ context.Context, key stocksync.OrderKey) (stocksync.OrderView, error) {
	unlock, err := e.enter("order")
	defer unlock()
	return stocksync.OrderView{Connection: key.Channel, OrderID: key.OrderID, Lines: []stocksync.OrderLineView{{LineID: "1"}}}, err
}

func (e *memoryEngine) Alerts(_ context.Context, open bool, after int64, limit int) ([]stocksync.AlertView, error) {
	unlock, err := e.enter("alerts")
	defer unlock()
	now := time.Now().UTC()
	rows := []stocksync.AlertView{{ID: "1", Subject: "sku:HAT", RecoveredAt: &now}, {ID: "2", Subject: "sku:TEE"}}
	rows = slices.DeleteFunc(rows, func(a stocksync.AlertView) bool {
		id, _ := strconv.ParseInt(a.ID, 10, 64)
		return id <= after || open && a.RecoveredAt != nil
	})
	return rows[:min(len(rows), limit)], err
}

func (e *memoryEngine) AckAlert(_ context.Context, by stocksync.Actor, id int64) (stocksync.AlertView, error) {
	unlock, err := e.enter("acknowledge")
	defer unlock()
	if err == nil && id != 2 {
		err = stocksync.ErrNotFound
	}
	return stocksync.AlertView{ID: strconv.FormatInt(id, 10), AcknowledgedBy: by.Name}, err
}

func (e *memoryEngine) Replenishments(_ context.Context, _ bool, after int64, _ int) ([]stocksync.ReplenishmentView, error) {
	unlock, err := e.enter("replenishments")
	defer unlock()
	if after > 0 {
		return nil, err
	}
	return []stocksync.ReplenishmentView{{ID: "1", SKU: "TEE", State: "raised", Missing: 6}}, err
}

func (e *memoryEngine) MeasureOf(_ context.Context, sku stock.SKU) (stocksync.Measure, error) {
	unlock, err := e.enter("measure")
	defer unlock()
	if err == nil && sku != "TEE" {
		err = stocksync.ErrNotFound
	}
	return stocksync.Measure{SKU: sku}, err
}

func (e *memoryEngine) Notices(_ context.Context, q stocksync.NoticeQuery) ([]stocksync.NoticeView, error) {
	unlock, err := e.enter("notices")
	defer unlock()
	all := []stocksync.NoticeView{{ID: "2", Channel: "ops", State: stocksync.DeliveryGivenUp}, {ID: "1", Channel: "ops", State: stocksync.DeliverySent}, {ID: "1", Channel: "team", State: stocksync.DeliverySent}}
	rows := slices.DeleteFunc(all, func(n stocksync.NoticeView) bool {
		id, _ := strconv.ParseInt(n.ID, 10, 64)
		before := q.Before == 0 || id < q.Before || id == q.Before && n.Channel > q.After
		return !before || q.Channel != "" && n.Channel != q.Channel || q.State != "" && n.State != q.State
	})
	return rows[:min(len(rows), q.Limit)], err
}

func (e *memoryEngine) RetryNotices(context.Context, stocksync.Actor, string) (int, error) {
	unlock, err := e.enter("retry notices")
	defer unlock()
	return 1, err
}

func (e *memoryEngine) Incidents(_ context.Context, open bool, after int64, _ int) ([]stocksync.IncidentView, error) {
	unlock, err := e.enter("incidents")
	defer unlock()
	if open {
		return e.incidents, err
	}
	if after > 0 {
		return nil, err
	}
	return []stocksync.IncidentView{{ID: "1", Kind: stocksync.IncidentOversell}}, err
}

func (e *memoryEngine) Incident(_ context.Context, id int64) (stocksync.IncidentDetail, error) {
	unlock, err := e.enter("incident")
	defer unlock()
	if id != 1 && err == nil {
		err = stocksync.ErrNotFound
	}
	return stocksync.IncidentDetail{IncidentView: stocksync.IncidentView{ID: "1", Kind: stocksync.IncidentOversell},
		Affected: []stocksync.AffectedView{{Connection: "shop", OrderID: "1001", LineID: "1", Buyer: "b", Contact: "ann@example.org", Remedy: e.remedy}}}, err
}

func (e *memoryEngine) ChooseRemedy(ctx context.Context, by stocksync.Actor, incident int64, choice stocksync.RemedyChoice) (stocksync.IncidentDetail, error) {
	unlock, err := e.enter("choose-remedy")
	if err == nil && incident == 1 {
		e.remedy = &stocksync.RemedyView{Kind: choice.Kind, State: stocksync.RemedyChosen, By: by.Name, Message: choice.Message}
	}
	unlock()
	if err != nil {
		return stocksync.IncidentDetail{}, err
	}
	return e.Incident(ctx, incident)
}

func (e *memoryEngine) FinishRemedy(ctx context.Context, _ stocksync.Actor, incident int64, _ stocksync.OrderKey, _ string, done bool) (stocksync.IncidentDetail, error) {
	unlock, err := e.enter("finish-remedy")
	if err == nil && e.remedy == nil {
		err = stocksync.ErrNotFound
	}
	if err == nil {
		e.remedy.State = map[bool]stocksync.RemedyState{true: stocksync.RemedyDone, false: stocksync.RemedyFailed}[done]
	}
	unlock()
	if err != nil {
		return stocksync.IncidentDetail{}, err
	}
	return e.Incident(ctx, incident)
}

func (e *memoryEngine) Plans(_ context.Context, state stocksync.PlanState, before int64, limit int) ([]stocksync.PlanView, error) {
	unlock, err := e.enter("plans")
	defer unlock()
	var rows []stocksync.PlanView
	for i, p := range slices.Backward(e.plans) {
		if (before == 0 || int64(i+1) < before) && (state == "" || p.State == state) && len(rows) < limit {
			rows = append(rows, p)
		}
	}
	return rows, err
}

func (e *memoryEngine) Plan(_ context.Context, id int64) (stocksync.PlanView, error) {
	unlock, err := e.enter("plan")
	defer unlock()
	if id > int64(len(e.plans)) {
		return stocksync.PlanView{}, cmp.Or(err, stocksync.ErrNotFound)
	}
	return e.plans[id-1], err
}

func (e *memoryEngine) DecidePlan(_ context.Context, id int64, approve bool, by string) (stocksync.PlanView, error) {
	unlock, err := e.enter("decide")
	defer unlock()
	if err != nil {
		return stocksync.PlanView{}, err
	}
	if id > int64(len(e.plans)) {
		return stocksync.PlanView{}, stocksync.ErrNotFound
	}
	p := &e.plans[id-1]
	if p.State != stocksync.PlanHeld {
		return *p, fmt.Errorf("%w: plan %d is %s already", stocksync.ErrInvalid, id, p.State)
	}
	p.State, p.DecidedBy = stocksync.PlanRejected, by
	if approve {
		p.State = stocksync.PlanApproved
	}
	return *p, nil
}

func (e *memoryEngine) StartReconcile(_ context.Context, job string, dryRun bool) (stocksync.RunView, error) {
	unlock, err := e.enter("reconcile")
	defer unlock()
	e.dryRun = dryRun
	return stocksync.RunView{ID: "7", Job: job, DryRun: dryRun, State: stocksync.RunRunning}, err
}

func (e *memoryEngine) Reconciliation(_ context.Context, id int64) (stocksync.RunView, error) {
	unlock, err := e.enter("reconciliation")
	defer unlock()
	return stocksync.RunView{ID: strconv.FormatInt(id, 10), State: stocksync.RunDone}, err
}

func (e *memoryEngine) Reconciliations(_ context.Context, before int64, limit int) ([]stocksync.RunView, error) {
	unlock, err := e.enter("reconciliations")
	defer unlock()
	rows := []stocksync.RunView{}
	for id := int64(7); id > 0 && len(rows) < limit; id-- {
		if before == 0 || id < before {
			rows = append(rows, stocksync.RunView{ID: strconv.FormatInt(id, 10), State: stocksync.RunDone})
		}
	}
	return rows, err
}

func (e *memoryEngine) Drifts(_ context.Context, _ int64, after stocksync.ListingKey, limit int) ([]stocksync.DriftView, error) {
	unlock, err := e.enter("drifts")
	defer unlock()
	rows := []stocksync.DriftView{}
	for _, item := range []string{"a", "b", "c"} {
		if item > after.Item && len(rows) < limit {
			rows = append(rows, stocksync.DriftView{Connection: "shop", Item: item, Cause: stocksync.CauseForeignWrite, Counts: true})
		}
	}
	return rows, err
}

func (e *memoryEngine) WriteReport(_ context.Context, id int64, format stocksync.ReportFormat, w io.Writer) error {
	unlock, err := e.enter("report")
	defer unlock()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s of %d\n", format, id)
	return err
}

func (e *memoryEngine) Pause(_ context.Context, connection stock.ConnectionID, by string) error {
	unlock, err := e.enter("pause")
	defer unlock()
	if e.secrets[connection] == nil {
		return stocksync.ErrUnknownConnection
	}
	e.paused[connection] = "paused by " + by
	return err
}

func (e *memoryEngine) AcceptAccount(_ context.Context, connection stock.ConnectionID, account, _ string) error {
	unlock, err := e.enter("accept account")
	defer unlock()
	switch {
	case e.secrets[connection] == nil:
		return stocksync.ErrUnknownConnection
	case account == "":
		return stocksync.ErrInvalid
	}
	delete(e.paused, connection)
	return err
}

func (e *memoryEngine) PauseRaises(_ context.Context, connection stock.ConnectionID, by string) error {
	unlock, err := e.enter("pause raises")
	defer unlock()
	if connection != "" && e.secrets[connection] == nil {
		return stocksync.ErrUnknownConnection
	}
	e.raises[connection] = "raises are paused by " + by
	return err
}

func (e *memoryEngine) ResumeRaises(_ context.Context, connection stock.ConnectionID, _ string) error {
	unlock, err := e.enter("resume raises")
	defer unlock()
	if connection != "" && e.secrets[connection] == nil {
		return stocksync.ErrUnknownConnection
	}
	delete(e.raises, connection)
	return err
}

func (e *memoryEngine) Resume(_ context.Context, connection stock.ConnectionID, _ string) error {
	unlock, err := e.enter("resume")
	defer unlock()
	if e.secrets[connection] == nil {
		return stocksync.ErrUnknownConnection
	}
	delete(e.paused, connection)
	return err
}

func (e *memoryEngine) Connections(context.Context) ([]stocksync.ConnectionView, error) {
	unlock, err := e.enter("connections")
	defer unlock()
	var rows []stocksync.ConnectionView
	for name := range e.secrets {
		rows = append(rows, stocksync.ConnectionView{Name: name, Connector: "open", Paused: e.paused[name], RaisesPaused: e.raises[name] + e.raises[""]})
	}
	return rows, err
}

func (e *memoryEngine) ImportMappings(_ context.Context, csv io.Reader, _ string) (stocksync.ImportView, error) {
	b, readErr := io.ReadAll(csv)
	unlock, err := e.enter("import")
	defer unlock()
	e.imported = string(b)
	view := stocksync.ImportView{Listings: bytes.Count(b, []byte("\n"))}
	if bytes.Contains(b, []byte("wrong")) {
		view = stocksync.ImportView{Errors: []stocksync.RowErrorView{{Line: 2, Field: "units", Value: "wrong", Reason: "not a number"}}}
	}
	return view, cmp.Or(err, readErr)
}

func (e *memoryEngine) Unmapped(context.Context) ([]stocksync.UnmappedView, error) {
	unlock, err := e.enter("unmapped")
	defer unlock()
	return []stocksync.UnmappedView{{Connection: "shop", Item: "a/b", Orders: 2, Packs: 3}}, err
}

func (e *memoryEngine) PreviewMappings(_ context.Context, csv io.Reader) (stocksync.LinkPreview, error) {
	b, readErr := io.ReadAll(csv)
	unlock, err := e.enter("preview mappings")
	defer unlock()
	view := stocksync.LinkPreview{Links: []stocksync.LinkChange{}, Errors: []stocksync.RowErrorView{}}
	if bytes.Contains(b, []byte("wrong")) {
		view.Errors = append(view.Errors, stocksync.RowErrorView{Line: 2, Field: "units", Value: "wrong", Reason: "not a number"})
	}
	return view, cmp.Or(err, readErr)
}

// Unlink knows one mapped listing, which has open orders.
func (e *memoryEngine) Unlink(_ context.Context, key stocksync.ListingKey, force bool, by string) error {
	unlock, err := e.enter("unlink by " + by)
	defer unlock()
	switch {
	case err != nil:
		return err
	case key.Connection != "shop" || key.Item != "a/b":
		return stocksync.ErrNotFound
	case !force:
		return fmt.Errorf("%w: 2 packs are in open orders", stocksync.ErrInvalid)
	}
	return nil
}

func (e *memoryEngine) RenameSKU(_ context.Context, from, to stock.SKU, by string) (stocksync.RenameView, error) {
	return e.move("rename by "+by, from, to, false)
}

func (e *memoryEngine) MergeSKU(_ context.Context, from, to stock.SKU, by string) (stocksync.RenameView, error) {
	return e.move("merge by "+by, from, to, true)
}

func (e *memoryEngine) move(call string, from, to stock.SKU, merged bool) (stocksync.RenameView, error) {
	unlock, err := e.enter(call)
	defer unlock()
	switch {
	case err != nil:
		return stocksync.RenameView{}, err
	case from == "NOBODY":
		return stocksync.RenameView{}, stocksync.ErrNotFound
	case from == to:
		return stocksync.RenameView{}, stocksync.ErrInvalid
	}
	return stocksync.RenameView{From: from, To: to, Merged: merged}, nil
}

func (e *memoryEngine) ExportMappings(_ context.Context, w io.Writer) error {
	unlock, err := e.enter("export")
	defer unlock()
	if err != nil {
		return err
	}
	for i := range 1000 {
		if _, err := fmt.Fprintf(w, "shop,item-%d,,sku,1\n", i); err != nil {
			return err
		}
		if e.panics && i == 500 {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

func (e *memoryEngine) Suggestions(_ context.Context, connection stock.ConnectionID) ([]stocksync.SuggestionView, error) {
	unlock, err := e.enter("suggestions")
	defer unlock()
	if e.secrets[connection] == nil {
		return nil, stocksync.ErrUnknownConnection
	}
	return []stocksync.SuggestionView{{Connection: connection, Item: "a", SKU: "A", By: "sku"}}, err
}

func (e *memoryEngine) Settings(_ context.Context, kind stocksync.SettingKind, _ string, _ int) ([]stocksync.SettingView, error) {
	unlock, err := e.enter("settings")
	defer unlock()
	return slices.Collect(maps.Values(e.settings[kind])), err
}

func (e *memoryEngine) SettingVersions(_ context.Context, kind stocksync.SettingKind, key string) ([]stocksync.SettingView, error) {
	unlock, err := e.enter("setting versions")
	defer unlock()
	v, ok := e.settings[kind][key]
	if !ok {
		return nil, stocksync.ErrNotFound
	}
	return []stocksync.SettingView{v}, err
}

func (e *memoryEngine) SettingChange(_ context.Context, id int64) (stocksync.SettingChangeView, error) {
	unlock, err := e.enter("setting change")
	defer unlock()
	return stocksync.SettingChangeView{SettingView: stocksync.SettingView{ID: strconv.FormatInt(id, 10)}, State: "shown"}, err
}

func (e *memoryEngine) PreviewSettings(_ context.Context, changes []stocksync.SettingChange, _ stocksync.ListingKey, limit int) ([]stocksync.PreviewView, error) {
	unlock, err := e.enter("preview settings")
	defer unlock()
	return make([]stocksync.PreviewView, min(len(changes), limit)), err
}

func (e *memoryEngine) Audit(context.Context, string, int64, int) ([]stocksync.AuditView, error) {
	unlock, err := e.enter("audit")
	defer unlock()
	return []stocksync.AuditView{{ID: "1", By: "somebody", Action: "policy set", Subject: "policy all"}}, err
}

func (e *memoryEngine) ChangeSettings(_ context.Context, by stocksync.Actor, changes []stocksync.SettingChange) ([]stocksync.SettingView, error) {
	unlock, err := e.enter("change settings")
	defer unlock()
	if err != nil {
		return nil, err
	}
	views := make([]stocksync.SettingView, len(changes))
	for i, c := range changes {
		if string(c.Value) == `{"cap":-1}` {
			return nil, &stock.FieldError{Field: "cap", Reason: "is -1"}
		}
		if c.Version != nil && *c.Version != e.settings[c.Kind][c.Key].Version {
			return nil, stocksync.ErrConflict
		}
		if e.settings[c.Kind] == nil {
			e.settings[c.Kind] = map[string]stocksync.SettingView{}
		}
		views[i] = stocksync.SettingView{ID: "1", Kind: c.Kind, Key: c.Key, Version: e.settings[c.Kind][c.Key].Version + 1, Value: c.Value, By: by.Name, Reason: by.Reason}
		e.settings[c.Kind][c.Key] = views[i]
	}
	return views, nil
}

func (e *memoryEngine) ImportSettings(_ context.Context, _ stocksync.Actor, _ stocksync.SettingKind, csv io.Reader) (stocksync.SettingsImportView, error) {
	b, readErr := io.ReadAll(csv)
	unlock, err := e.enter("import settings")
	defer unlock()
	view := stocksync.SettingsImportView{Settings: bytes.Count(b, []byte("\n"))}
	if bytes.Contains(b, []byte("wrong")) {
		view = stocksync.SettingsImportView{Errors: []stocksync.RowErrorView{{Line: 2, Field: "cap", Value: "wrong", Reason: "not a number"}}}
	}
	return view, cmp.Or(err, readErr)
}

func (e *memoryEngine) ExportSettings(_ context.Context, kind stocksync.SettingKind, w io.Writer) error {
	unlock, err := e.enter("export settings")
	defer unlock()
	if err != nil {
		return err
	}
	if kind != "policy" {
		return stocksync.ErrNotFound
	}
	_, err = io.WriteString(w, "key,cap\nall,5\n")
	return err
}

func (e *memoryEngine) ReplaySettings(_ context.Context, changes []stocksync.SettingChange, days int) (stocksync.ReplayView, error) {
	unlock, err := e.enter("replay settings")
	defer unlock()
	return stocksync.ReplayView{From: time.Unix(0, 0).UTC(), To: time.Unix(int64(days)*86400, 0).UTC(), Assumptions: []string{changes[0].Key}}, err
}

func (e *memoryEngine) Analysis(_ context.Context, q stocksync.AnalysisQuery) (stocksync.AnalysisView, stock.SKU, error) {
	unlock, err := e.enter("analysis")
	defer unlock()
	if err == nil && !slices.Contains(stocksync.AnalysisNames(), q.Name) {
		err = stocksync.ErrNotFound
	}
	view := stocksync.AnalysisView{Report: q.Name, From: q.From, To: q.To, Zone: q.Zone.String(), Names: []string{"sku", "per_day_28_milli"}}
	for _, i := range e.items {
		view.Data = append(view.Data, map[string]any{"sku": string(i.SKU), "per_day_28_milli": int64(5000)})
	}
	return view, "", err
}

func (e *memoryEngine) WriteAnalysis(ctx context.Context, q stocksync.AnalysisQuery, w io.Writer) error {
	view, _, err := e.Analysis(ctx, q)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, strings.Join(view.Names, ","))
	for _, row := range view.Data {
		fmt.Fprintln(w, strings.Join(view.Cells(row, true), ","))
	}
	return nil
}

// stocktake is the one stocktake that memoryEngine has: number 7, of one article that ann has counted.
func (e *memoryEngine) stocktake(what string, id int64) (stocksync.StocktakeView, func(), error) {
	unlock, err := e.enter(what)
	if err == nil && id != 7 {
		err = stocksync.ErrNotFound
	}
	n := stock.Quantity(-2)
	return stocksync.StocktakeView{ID: "7", MadeBy: "ann", State: "open", States: map[stocksync.StocktakeState]int{stocksync.LineVariance: 1},
		Lines: []stocksync.StocktakeLineView{{Line: 1, SKU: "A", Location: "main", State: stocksync.LineVariance, Counter: "ann", Difference: &n}}}, unlock, err
}

func (e *memoryEngine) Stocktakes(context.Context, bool, int64, int) ([]stocksync.StocktakeView, error) {
	v, unlock, err := e.stocktake("stocktakes", 7)
	defer unlock()
	return []stocksync.StocktakeView{v}, err
}

func (e *memoryEngine) Stocktake(_ context.Context, id int64) (stocksync.StocktakeView, error) {
	v, unlock, err := e.stocktake("stocktake", id)
	defer unlock()
	return v, err
}

func (e *memoryEngine) ExportStocktake(_ context.Context, id int64, w io.Writer) error {
	_, unlock, err := e.stocktake("export stocktake", id)
	defer unlock()
	if err == nil {
		_, err = io.WriteString(w, "sku,location,counted,as_of\nA,main,,\n")
	}
	return err
}

func (e *memoryEngine) NewStocktake(_ context.Context, _ stocksync.Actor, o stocksync.StocktakeOrder) (stocksync.StocktakeView, []stocksync.RowErrorView, error) {
	v, unlock, err := e.stocktake("new stocktake", 7)
	defer unlock()
	if slices.Contains(o.SKUs, "wrong") {
		return stocksync.StocktakeView{}, []stocksync.RowErrorView{{Line: 1, Field: "sku", Value: "wrong", Reason: "is not known"}}, err
	}
	return v, nil, err
}

func (e *memoryEngine) EnterCounts(_ context.Context, _ stocksync.Actor, id int64, counts []stocksync.CountInput, _ ...stocksync.RowErrorView) (stocksync.CountsView, error) {
	_, unlock, err := e.stocktake("enter counts", id)
	defer unlock()
	view := stocksync.CountsView{Stocktake: "7", Changed: len(counts)}
	for _, c := range counts {
		if c.Counted < 0 || c.AsOf.IsZero() {
			view.Errors = append(view.Errors, stocksync.RowErrorView{Line: c.Row, Field: "counted", Reason: "is below 0"})
		}
	}
	return view, err
}

func (e *memoryEngine) ImportCounts(_ context.Context, _ stocksync.Actor, id int64, csv io.Reader) (stocksync.CountsView, error) {
	b, readErr := io.ReadAll(csv)
	_, unlock, err := e.stocktake("import counts", id)
	defer unlock()
	view := stocksync.CountsView{Stocktake: "7", Changed: bytes.Count(b, []byte("\n"))}
	if bytes.Contains(b, []byte("wrong")) {
		view.Errors = []stocksync.RowErrorView{{Line: 2, Field: "counted", Value: "wrong", Reason: "is not a whole number"}}
	}
	return view, cmp.Or(err, readErr)
}

// decideStocktake refuses whoever has counted, as the engine does.
func (e *memoryEngine) decideStocktake(what string, by stocksync.Actor, id int64) (stocksync.CountsView, error) {
	v, unlock, err := e.stocktake(what, id)
	defer unlock()
	view := stocksync.CountsView{Stocktake: "7", Changed: 1}
	if by.Name == v.Lines[0].Counter {
		view.Errors = []stocksync.RowErrorView{{Line: 1, Field: "line", Reason: "another person approves it"}}
	}
	return view, err
}

func (e *memoryEngine) ApproveStocktake(_ context.Context, by stocksync.Actor, id int64, _ stocksync.StocktakeDecision) (stocksync.CountsView, error) {
	return e.decideStocktake("approve stocktake", by, id)
}

func (e *memoryEngine) RejectStocktake(_ context.Context, by stocksync.Actor, id int64, _ stocksync.StocktakeDecision) (stocksync.CountsView, error) {
	return e.decideStocktake("reject stocktake", by, id)
}

func (e *memoryEngine) BookStocktake(_ context.Context, by stocksync.Actor, id int64, _ stocksync.StocktakeDecision) (stocksync.CountsView, error) {
	return e.decideStocktake("book stocktake", by, id)
}

func (e *memoryEngine) Status(context.Context) (stocksync.StatusView, error) {
	unlock, err := e.enter("status")
	defer unlock()
	return stocksync.StatusView{InboxPending: 3, OldestUnconfirmedMS: 1500, Settled: true}, err
}

func (e *memoryEngine) Ready(context.Context) error {
	unlock, err := e.enter("ready")
	defer unlock()
	return err
}

func (e *memoryEngine) Authenticate(_ context.Context, secret string) (stocksync.Token, error) {
	unlock, _ := e.enter("authenticate")
	defer unlock()
	if t, ok := e.tokens[secret]; ok {
		return t, nil
	}
	return stocksync.Token{}, stocksync.ErrNotFound
}

func (e *memoryEngine) CreateToken(_ context.Context, name string, scope stocksync.Scope, ttl time.Duration, _ string) (string, stocksync.TokenView, error) {
	unlock, err := e.enter("create token")
	defer unlock()
	secret := "ts_" + rand.Text()
	id := int64(len(e.tokens) + 1)
	e.tokens[secret] = stocksync.Token{ID: id, Name: name, Scope: scope}
	view := stocksync.TokenView{ID: strconv.FormatInt(id, 10), Name: name, Scope: scope}
	if ttl > 0 {
		end := time.Now().UTC().Add(ttl)
		view.ExpiresAt = &end
	}
	return secret, view, err
}

func (e *memoryEngine) Tokens(context.Context) ([]stocksync.TokenView, error) {
	unlock, err := e.enter("tokens")
	defer unlock()
	var rows []stocksync.TokenView
	for _, t := range e.tokens {
		rows = append(rows, stocksync.TokenView{ID: strconv.FormatInt(t.ID, 10), Name: t.Name, Scope: t.Scope})
	}
	return rows, err
}

func (e *memoryEngine) RevokeToken(_ context.Context, id int64, _ string) error {
	unlock, err := e.enter("revoke")
	defer unlock()
	for secret, t := range e.tokens {
		if t.ID == id {
			delete(e.tokens, secret)
			return err
		}
	}
	return stocksync.ErrNotFound
}

// site is a server on a loopback port.
type site struct {
	url    string
	addr   string
	server *web.Server
	log    *logBuffer
	client *http.Client
	// stop ends the server and returns what Serve returned.
	stop func() error
}

// serve starts a server; it ends with the test.
func serve(t testing.TB, cfg web.Config, engine web.Engine) *site {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := &logBuffer{}
	cfg.Connections = append(cfg.Connections, "shop", "erp")
	s := web.New(cfg, engine, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	stop := sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = stop()
	})
	return &site{url: "http://" + l.Addr().String(), addr: l.Addr().String(), server: s, log: log,
		client: &http.Client{Transport: transport, Timeout: 10 * time.Second}, stop: stop}
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// reply is an answer, read whole.
type reply struct {
	status int
	header http.Header
	body   string
}

// problem checks that the answer is problem+json of that status with a detail, and returns the detail.
func (r reply) problem(t testing.TB, status int) string {
	t.Helper()
	var p struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}
	if r.status != status || r.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("status %d %s, want %d problem+json: %s", r.status, r.header.Get("Content-Type"), status, r.body)
	}
	if err := json.Unmarshal([]byte(r.body), &p); err != nil || p.Status != status || p.Title == "" || p.Detail == "" {
		t.Fatalf("not a full problem (%v): %s", err, r.body)
	}
	return p.Detail
}

// send sends a request; headers are name, value pairs.
func (s *site) send(t testing.TB, method, path string, body io.Reader, headers ...string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(b)}
}

// call calls the API as the token of a scope; a body is JSON.
func (s *site) call(t testing.TB, scope stocksync.Scope, method, path, body string) reply {
	t.Helper()
	headers := []string{"Authorization", "Bearer ts_" + string(scope)}
	var r io.Reader
	if body != "" {
		headers = append(headers, "Content-Type", "application/json")
		r = strings.NewReader(body)
	}
	return s.send(t, method, "/api/v1"+path, r, headers...)
}

// into reads a JSON answer of status 2xx.
func into[T any](t testing.TB, r reply) T {
	t.Helper()
	var v T
	if r.status/100 != 2 || r.header.Get("Content-Type") != "application/json" {
		t.Fatalf("status %d %s: %s", r.status, r.header.Get("Content-Type"), r.body)
	}
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return v
}

// signed are the headers of a webhook, signed as the connection.
func signed(t testing.TB, connection, id, body string) []string {
	t.Helper()
	wh, err := standardwebhooks.NewWebhookRaw([]byte("secret of " + connection + " 0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signature, err := wh.Sign(id, now, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return []string{"webhook-id", id, "webhook-timestamp", strconv.FormatInt(now.Unix(), 10), "webhook-signature", signature,
		"Content-Type", "application/json"}
}

// signatureOf is the base64 part of signed headers.
func signatureOf(headers []string) string {
	_, s, _ := strings.Cut(headers[5], ",")
	if _, err := base64.StdEncoding.DecodeString(s); err != nil {
		panic(err)
	}
	return s
}

func (e *memoryEngine) Campaigns(_ context.Context, after string, limit int) ([]stocksync.CampaignView, error) {
	unlock, err := e.enter("campaigns")
	defer unlock()
	rows := []stocksync.CampaignView{{Name: "friday", SKU: "A", State: stocksync.CampaignRunning}, {Name: "spring", SKU: "B", State: stocksync.CampaignPlanned}}
	rows = slices.DeleteFunc(rows, func(v stocksync.CampaignView) bool { return v.Name <= after })
	return rows[:min(limit, len(rows))], err
}

func (e *memoryEngine) Campaign(ctx context.Context, name string) (stocksync.CampaignView, error) {
	rows, err := e.Campaigns(ctx, "", 10)
	for _, v := range rows {
		if v.Name == name {
			return v, err
		}
	}
	return stocksync.CampaignView{}, cmp.Or(err, stocksync.ErrNotFound)
}

// licenceKeys are the keys of the only licence that memoryEngine has, by their ids from 1.
var licenceKeys = []string{"KEY-1", "KEY-2"}

func (e *memoryEngine) ListKeys(_ context.Context, sku stock.SKU, after int64, limit int) ([]stocksync.KeyView, error) {
	unlock, err := e.enter("list keys")
	defer unlock()
	rows := []stocksync.KeyView{}
	for i := int(after); i < len(licenceKeys) && len(rows) < limit && sku == "APP"; i++ {
		rows = append(rows, stocksync.KeyView{ID: fmt.Sprint(i + 1), SKU: sku, State: "assigned"})
	}
	return rows, err
}

func (e *memoryEngine) ImportKeys(_ context.Context, _ stocksync.Actor, sku stock.SKU, csv io.Reader) (stocksync.KeysImportView, error) {
	b, readErr := io.ReadAll(csv)
	unlock, err := e.enter("import keys")
	defer unlock()
	view := stocksync.KeysImportView{SKU: sku, Keys: bytes.Count(b, []byte("\n")) - 1, Errors: []stocksync.RowErrorView{}}
	if bytes.Contains(b, []byte("KEY-1")) {
		view = stocksync.KeysImportView{SKU: sku, Errors: []stocksync.RowErrorView{{Line: 2, Field: "key", Reason: "was imported before"}}}
	}
	return view, cmp.Or(err, readErr)
}

func (e *memoryEngine) RevealKey(_ context.Context, by stocksync.Actor, id int64) (string, error) {
	unlock, err := e.enter("reveal key")
	defer unlock()
	switch {
	case err != nil:
		return "", err
	case id > int64(len(licenceKeys)):
		return "", stocksync.ErrNotFound
	case e.revealed[id] != "":
		return "", fmt.Errorf("%w: the key was revealed to %s", stocksync.ErrConflict, e.revealed[id])
	}
	if e.revealed == nil {
		e.revealed = map[int64]string{}
	}
	e.revealed[id] = by.Name
	return licenceKeys[id-1], nil
}

func (e *memoryEngine) RevokeKey(_ context.Context, _ stocksync.Actor, id int64) error {
	unlock, err := e.enter("revoke key")
	defer unlock()
	if err == nil && id > int64(len(licenceKeys)) {
		err = stocksync.ErrNotFound
	}
	return err
}
