package sync_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	svix "github.com/svix/svix-webhooks/go"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/notice"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// receiver takes signed webhooks, as a seller's own system would.
type receiver struct {
	t      *testing.T
	mu     sync.Mutex
	status int // what it answers, 0: 204
	after  func()
	got    []received
}

type received struct {
	id, kind string
	data     map[string]any
	at       time.Time
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		r.t.Error(err)
	}
	verifier, err := svix.NewWebhook(secret)
	if err != nil {
		r.t.Error(err)
	}
	// The other library reads the real clock, so only the signature is compared.
	if err := verifier.VerifyIgnoringTimestamp(body, req.Header); err != nil {
		r.t.Errorf("the signature: %v", err)
	}
	var envelope struct {
		Type string         `json:"type"`
		Data map[string]any `json:"data"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status != 0 {
		w.WriteHeader(r.status)
		return
	}
	r.got = append(r.got, received{req.Header.Get("Webhook-Id"), envelope.Type, envelope.Data, time.Now().UTC()})
	if r.after != nil {
		r.after()
		r.after = nil
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// take returns what came since the last call.
func (r *receiver) take() []received {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

func kinds(got []received) string {
	var all []string
	for _, g := range got {
		all = append(all, g.kind)
	}
	return strings.Join(all, " ")
}

// listening is a house with a receiver of webhooks under the target and the channel of notices "ops".
func listening(t *testing.T, o houseOptions, value string, test func(h *house, r *receiver)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, o)
		defer h.close()
		r := &receiver{t: t}
		n, err := notice.New(notice.Config{Targets: map[string]notice.Target{"ops": {URL: "https://ops.example/in", Secret: secret}}, Transport: fake.Transport(r)})
		if err != nil {
			t.Fatal(err)
		}
		h.config.Notifier, h.config.KeepNotices = n, 5*24*time.Hour
		h.start()
		h.set(stocksync.NoticeChannelSetting, "ops", value)
		test(h, r)
	})
}

func (h *house) set(kind stocksync.SettingKind, key, value string) {
	h.t.Helper()
	if _, err := h.engine.ChangeSettings(h.ctx, stocksync.Actor{Name: "ann"}, []stocksync.SettingChange{{Kind: kind, Key: key, Value: json.RawMessage(value)}}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) opened(kind, subject string) {
	h.t.Helper()
	if err := h.store.OpenIncident(h.ctx, stocksync.Incident{Kind: kind, Subject: subject, Message: "look at " + subject, OpenedAt: time.Now().UTC()}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) over(kind, subject string) {
	h.t.Helper()
	if err := h.store.CloseIncident(h.ctx, kind, subject, time.Now().UTC()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) notices(state stocksync.DeliveryState) []stocksync.NoticeView {
	h.t.Helper()
	views, err := h.engine.Notices(h.ctx, stocksync.NoticeQuery{State: state, Limit: 100})
	if err != nil {
		h.t.Fatal(err)
	}
	return views
}

func TestIncidentIsToldOnceWhenItOpensAndWhenItIsOver(t *testing.T) {
	listening(t, houseOptions{}, `{}`, func(h *house, r *receiver) {
		h.opened("listing_gone", "TEE")
		h.opened("listing_gone", "TEE") // the same instant
		time.Sleep(2 * time.Minute)
		h.opened("listing_gone", "TEE") // refreshed
		time.Sleep(2 * time.Minute)
		got := r.take()
		if kinds(got) != "incident.opened" || got[0].data["kind"] != "listing_gone" || got[0].data["subject"] != "TEE" || got[0].data["message"] != "look at TEE" {
			t.Fatalf("told %+v", got)
		}
		h.over("listing_gone", "TEE")
		h.over("listing_gone", "TEE")
		time.Sleep(2 * time.Minute)
		if got := r.take(); kinds(got) != "incident.closed" {
			t.Fatalf("told %+v", got)
		}
		h.opened("listing_gone", "TEE") // again
		time.Sleep(2 * time.Minute)
		if got := r.take(); kinds(got) != "incident.opened" {
			t.Fatalf("told %+v", got)
		}
		if sent := h.notices(stocksync.DeliverySent); len(sent) != 3 || sent[0].Channel != "ops" || sent[0].SentAt == nil || sent[0].Attempts != 1 {
			t.Errorf("kept %+v", sent)
		}
	})
}

func TestNoticeIsTriedAgainUnderTheSameID(t *testing.T) {
	listening(t, houseOptions{}, `{"types":["incident.opened"]}`, func(h *house, r *receiver) {
		r.answer(http.StatusBadGateway)
		h.opened("listing_gone", "TEE")
		time.Sleep(20 * time.Minute)
		due := h.notices(stocksync.DeliveryDue)
		if len(due) != 1 || due[0].Attempts < 3 || !strings.Contains(due[0].Error, "502") {
			t.Fatalf("due %+v", due)
		}
		// What it says is what is true when it arrives.
		if err := h.store.OpenIncident(h.ctx, stocksync.Incident{Kind: "listing_gone", Subject: "TEE", Message: "newer", OpenedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
		r.answer(0)
		// The power is cut after it arrived and before that is known.
		r.mu.Lock()
		r.after = func() { go h.stop() }
		r.mu.Unlock()
		time.Sleep(10 * time.Minute)
		first := r.take()
		if kinds(first) != "incident.opened" || first[0].data["message"] != "newer" {
			t.Fatalf("told %+v", first)
		}
		h.start()
		time.Sleep(10 * time.Minute)
		for _, again := range r.take() {
			if again.id != first[0].id {
				t.Errorf("told again under another id: %+v", again)
			}
		}
		if sent := h.notices(stocksync.DeliverySent); len(sent) != 1 {
			t.Errorf("sent %+v", sent)
		}
		if due := h.notices(stocksync.DeliveryDue); len(due) != 0 {
			t.Errorf("still due %+v", due)
		}
	})
}

func TestRefusedNoticeIsGivenUpVisibly(t *testing.T) {
	listening(t, houseOptions{}, `{}`, func(h *house, r *receiver) {
		r.answer(http.StatusNotFound)
		h.opened("listing_gone", "TEE")
		time.Sleep(2 * time.Minute)
		up := h.notices(stocksync.DeliveryGivenUp)
		if len(up) != 1 || !strings.Contains(up[0].Error, "404") || h.incidents(stocksync.IncidentNoticeFailed) != 1 {
			t.Fatalf("given up %+v, %d incidents", up, h.incidents(stocksync.IncidentNoticeFailed))
		}
		r.answer(0)
		if n, err := h.engine.RetryNotices(h.ctx, stocksync.Actor{Name: "ann"}, "ops"); err != nil || n != 1 {
			t.Fatalf("retried %d: %v", n, err)
		}
		time.Sleep(2 * time.Minute)
		// The channel is not told of its own trouble.
		if got := r.take(); kinds(got) != "incident.opened" {
			t.Errorf("told %+v", got)
		}
		if n := h.incidents(stocksync.IncidentNoticeFailed); n != 0 {
			t.Errorf("%d incidents are open", n)
		}
	})
}

func TestDeadChannelIsGivenUpAfterThreeDays(t *testing.T) {
	listening(t, houseOptions{timings: slow}, `{}`, func(h *house, r *receiver) {
		r.answer(http.StatusServiceUnavailable)
		h.opened("listing_gone", "TEE")
		time.Sleep(71 * time.Hour)
		if due := h.notices(stocksync.DeliveryDue); len(due) != 1 {
			t.Fatalf("after 71 hours due %+v", due)
		}
		time.Sleep(2 * time.Hour)
		if up := h.notices(stocksync.DeliveryGivenUp); len(up) != 1 || up[0].Error == "" {
			t.Errorf("after 73 hours given up %+v", up)
		}
		time.Sleep(4 * 24 * time.Hour)
		if all := h.notices(""); slices.ContainsFunc(all, func(v stocksync.NoticeView) bool { return v.Subject == "TEE" }) {
			t.Errorf("kept for ever: %+v", all)
		}
	})
}

// slow are the timings of a house for tests that take days.
var slow = stocksync.Timings{Look: time.Hour, Poll: 24 * time.Hour, RetryMin: time.Minute, RetryMax: time.Hour}

func TestDigestGoesOutAtTheEndOfItsWindow(t *testing.T) {
	listening(t, houseOptions{timings: slow}, `{"digest":"daily","zone":"Europe/Berlin","begins":"08:00","types":["incident.opened"]}`, func(h *house, r *receiver) {
		var utc stock.Zone
		began := time.Now().UTC() // midnight UTC of 2000-01-01
		h.opened("listing_gone", "TEE")
		time.Sleep(time.Hour)
		h.opened("listing_gone", "HAT")
		time.Sleep(5*time.Hour + 30*time.Minute)
		if got := r.take(); len(got) != 0 {
			t.Fatalf("told before its time: %+v", got)
		}
		h.restart()
		time.Sleep(time.Hour) // 8 o'clock in Berlin is 7 in UTC
		got := r.take()
		if kinds(got) != "digest" || len(got[0].data["messages"].([]any)) != 2 || got[0].at.Sub(began.Truncate(24*time.Hour)) < 7*time.Hour {
			t.Fatalf("told %+v (%s)", got, utc.DateOf(began))
		}
		h.opened("listing_gone", "CAP")
		time.Sleep(24 * time.Hour)
		if got := r.take(); kinds(got) != "digest" || len(got[0].data["messages"].([]any)) != 1 {
			t.Fatalf("told %+v", got)
		}
	})
}

func TestHeldPlanIsTold(t *testing.T) {
	listening(t, houseOptions{guard: stocksync.GuardLimits{Count: 2, Permille: 300, FallPermille: 500, RiseFactor: 10}}, `{"types":["plan.held"]}`, func(h *house, r *receiver) {
		for _, sku := range []string{"A", "B", "C"} {
			h.stocked(sku, 100)
		}
		h.settled()
		for _, sku := range []string{"A", "B", "C"} {
			if err := h.warehouse.Adjust(sku, "main", -100); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Minute)
		got := r.take()
		if len(got) == 0 || got[0].kind != "plan.held" || got[0].data["plan"] == "" {
			t.Errorf("told %+v", got)
		}
	})
}

func TestNoticeChannelsAreChecked(t *testing.T) {
	listening(t, houseOptions{}, `{}`, func(h *house, _ *receiver) {
		for _, bad := range []struct{ key, value, field string }{
			{"ops", `{"target":"nobody"}`, "target"},
			{"elsewhere", `{}`, "target"},
			{"ops", `{"types":["stock.lw"]}`, "types[0]"},
			{"ops", `{"digest":"daily"}`, "zone"},
			{"ops", `{"digest":"fortnightly","zone":"UTC"}`, "digest"},
			{"ops", `{"zone":"UTC"}`, "digest"},
			{"ops", `{"digest":"daily","zone":"Mars/Olympus"}`, "Mars"},
			{"ops", `{"url":"https://x"}`, "url"},
		} {
			_, err := h.engine.ChangeSettings(h.ctx, stocksync.Actor{Name: "ann"}, []stocksync.SettingChange{{Kind: stocksync.NoticeChannelSetting, Key: bad.key, Value: json.RawMessage(bad.value)}})
			if err == nil || !strings.Contains(err.Error(), bad.field) {
				t.Errorf("%s %s: %v", bad.key, bad.value, err)
			}
		}
	})
}
