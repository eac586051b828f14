package fake

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/truestock/truestock/connectors/open"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// inbox takes webhooks as truestock does, and verifies every one with the library of the scheme.
type inbox struct {
	t      *testing.T
	mu     sync.Mutex
	refuse int // this many deliveries are answered 503
	got    []received
}

type received struct {
	id, typ string
	at      time.Time
	body    []byte
}

func (in *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		in.t.Errorf("read a webhook: %v", err)
	}
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		in.t.Error(err)
	}
	if err := verifier.Verify(body, r.Header); err != nil {
		in.t.Errorf("a webhook cannot be verified: %v", err)
	}
	var e open.Envelope
	if err := json.Unmarshal(body, &e); err != nil || e.Timestamp == nil {
		in.t.Errorf("a webhook is no envelope: %v in %s", err, body)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.got = append(in.got, received{id: r.Header.Get("webhook-id"), typ: e.Type, at: time.Now(), body: body})
	if in.refuse > 0 {
		in.refuse--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (in *inbox) all() []received {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.got)
}

func (in *inbox) types() (types []string) {
	for _, r := range in.all() {
		types = append(types, r.typ)
	}
	return types
}

// data decodes the data of a webhook.
func data[T any](t *testing.T, r received) T {
	t.Helper()
	var e open.Envelope
	var v T
	if err := json.Unmarshal(r.body, &e); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(e.Data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// subscribe sends the webhooks of a server to a new inbox in process, one at a time.
func subscribe(t *testing.T, s interface{ SendWebhooks(Target) error }, types ...string) *inbox {
	t.Helper()
	in := &inbox{t: t}
	if err := s.SendWebhooks(Target{URL: "http://truestock.invalid/webhooks/x", Secret: secret, Transport: Transport(in), Workers: 1, Types: types}); err != nil {
		t.Fatal(err)
	}
	return in
}

func TestShopWebhooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := shopOf(t, ShopConfig{}, "a")
		in := subscribe(t, s)
		id, _ := s.Buy("a", 2)
		c.write(open.Write{ID: "1", Item: "a", Quantity: 5})
		c.write(open.Write{ID: "2", Item: "a", Quantity: 5}) // shows it already: nothing changed
		s.SetQuantity("a", "", 6)
		s.Cancel(id)
		s.Delete("a")
		synctest.Wait()
		want := []string{"order.upserted", "listing.changed", "listing.changed", "listing.changed", "order.cancelled", "listing.removed"}
		if got := in.types(); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		got := in.all()
		if o := data[open.Order](t, got[0]); o.OrderID != id || *o.Version != 1 || *o.Lines[0].Quantity != 2 || o.UpdatedAt.IsZero() {
			t.Fatalf("order %+v", o)
		}
		for i, want := range []int64{8, 5, 6} {
			if l := data[open.ListingEvent](t, got[i+1]); *l.Quantity != want || l.SKU != "SKU-a" {
				t.Fatalf("listing %+v, want %d", l, want)
			}
		}
		if o := data[open.Order](t, got[4]); o.OrderID != id || *o.Version != 2 || o.Lines != nil {
			t.Fatalf("cancellation %+v", o)
		}
		if s.Counts()[WebhookDelivered] != 6 || s.PendingWebhooks() != 0 {
			t.Fatalf("counts %v, %d pending", s.Counts(), s.PendingWebhooks())
		}
	})
}

func TestWebhookTypesLimitWhatIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := shopOf(t, ShopConfig{}, "a")
		in := subscribe(t, s, "order.upserted")
		s.Buy("a", 2)
		synctest.Wait()
		if got := in.types(); !slices.Equal(got, []string{"order.upserted"}) {
			t.Fatalf("got %v", got)
		}
	})
}

func TestWebhookRetriesKeepTheirID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := shopOf(t, ShopConfig{}, "a")
		in := subscribe(t, s, "order.upserted")
		in.refuse = 3
		s.Buy("a", 2)
		time.Sleep(time.Minute)
		got := in.all()
		if len(got) != 4 {
			t.Fatalf("%d tries, want 4", len(got))
		}
		for i, wait := range []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, time.Second} {
			if d := got[i+1].at.Sub(got[i].at); d != wait || got[i+1].id != got[0].id || !bytes.Equal(got[i+1].body, got[0].body) {
				t.Fatalf("try %d after %v as %s, want the same as before after %v", i+2, d, got[i+1].id, wait)
			}
		}
	})
}

func TestWebhookIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := shopOf(t, ShopConfig{}, "a")
		in := subscribe(t, s, "order.upserted")
		in.refuse = 100
		s.Buy("a", 2)
		time.Sleep(time.Hour)
		if n := len(in.all()); n != 1+len(DefaultRetry) || s.Counts()[WebhookGivenUp] != 1 || s.PendingWebhooks() != 0 {
			t.Fatalf("%d tries, counts %v, %d pending", n, s.Counts(), s.PendingWebhooks())
		}
	})
}

func TestWebhookFaults(t *testing.T) {
	// Three orders; the fault meets the first.
	for _, tc := range []struct {
		fault Fault
		check func(t *testing.T, got []received)
	}{
		{WebhookDrop, func(t *testing.T, got []received) {
			if len(got) != 2 {
				t.Fatalf("%d deliveries, want 2", len(got))
			}
		}},
		{WebhookDuplicate, func(t *testing.T, got []received) {
			if len(got) != 4 || got[0].id != got[3].id || !bytes.Equal(got[0].body, got[3].body) {
				t.Fatalf("%d deliveries; the last is no duplicate of the first", len(got))
			}
		}},
		{WebhookRemint, func(t *testing.T, got []received) {
			if len(got) != 4 || got[0].id == got[3].id || !bytes.Equal(got[0].body, got[3].body) {
				t.Fatalf("%d deliveries; the last is not the first under a new id", len(got))
			}
		}},
		{WebhookDelay, func(t *testing.T, got []received) {
			d := got[2].at.Sub(got[0].at)
			if len(got) != 3 || data[open.Order](t, got[2]).OrderID != "shop-1001" || d <= 0 || d > time.Second {
				t.Fatalf("%d deliveries, the last %v late", len(got), d)
			}
		}},
		{WebhookReorder, func(t *testing.T, got []received) {
			var ids []string
			for _, r := range got {
				ids = append(ids, data[open.Order](t, r).OrderID)
			}
			if !slices.Equal(ids, []string{"shop-1002", "shop-1001", "shop-1003"}) {
				t.Fatalf("order of deliveries %v", ids)
			}
		}},
	} {
		t.Run(string(tc.fault), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := shopOf(t, ShopConfig{}, "a")
				in := subscribe(t, s, "order.upserted")
				s.FailNext(1, tc.fault)
				for range 3 {
					s.Buy("a", 1)
					synctest.Wait()
				}
				time.Sleep(2 * time.Second)
				tc.check(t, in.all())
				if s.Counts()[tc.fault] != 1 {
					t.Fatalf("counts %v", s.Counts())
				}
			})
		})
	}
}

func TestWebhookReorderWithoutANextEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := shopOf(t, ShopConfig{}, "a")
		in := subscribe(t, s, "order.upserted")
		s.FailNext(1, WebhookReorder)
		s.Buy("a", 1)
		time.Sleep(2 * time.Second)
		s.Buy("a", 1) // the first is gone: nothing to release
		synctest.Wait()
		if got := in.all(); len(got) != 2 || data[open.Order](t, got[0]).OrderID != "shop-1001" {
			t.Fatalf("%d deliveries", len(got))
		}
	})
}

func TestHealSendsOrDropsWhatIsDelayed(t *testing.T) {
	for _, drop := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, _ := shopOf(t, ShopConfig{Faults: Faults{WebhookDelay: time.Hour, DropOnHeal: drop}}, "a")
			in := subscribe(t, s, "order.upserted")
			s.FailNext(1, WebhookDelay)
			s.FailNext(1, WebhookReorder)
			s.FailNext(1, WebhookDuplicate)
			for range 3 {
				s.Buy("a", 1)
			}
			synctest.Wait()
			// The delayed and the held order wait, and so does the second copy of the third order.
			if len(in.all()) != 1 || s.PendingWebhooks() != 3 {
				t.Fatalf("%d delivered, %d pending", len(in.all()), s.PendingWebhooks())
			}
			s.Heal()
			synctest.Wait()
			want := 4
			if drop {
				want = 1
			}
			if len(in.all()) != want || s.PendingWebhooks() != 0 {
				t.Fatalf("drop %v: %d delivered, %d pending", drop, len(in.all()), s.PendingWebhooks())
			}
		})
	}
}

func TestWebhookWorkersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := shopOf(t, ShopConfig{}, "a")
		var mu sync.Mutex
		now, most := 0, 0
		slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
		})
		if err := s.SendWebhooks(Target{URL: "http://truestock.invalid/", Secret: secret, Transport: Transport(slow), Workers: 3}); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			s.SetQuantity("a", "", s.Sellable("a", "")+1)
		}
		began := time.Now()
		for s.PendingWebhooks() > 0 {
			time.Sleep(100 * time.Millisecond)
		}
		if d := time.Since(began); most != 3 || d < 3900*time.Millisecond {
			t.Fatalf("%d at once, all within %v", most, d)
		}
	})
}

func TestWebhooksOverTheNetwork(t *testing.T) {
	in := &inbox{t: t}
	server := httptest.NewServer(in)
	defer server.Close()
	s, _ := shopOf(t, ShopConfig{}, "a")
	if err := s.SendWebhooks(Target{URL: server.URL, Secret: secret}); err != nil {
		t.Fatal(err)
	}
	s.Buy("a", 1)
	deadline := time.After(10 * time.Second)
	for s.Counts()[WebhookDelivered] < 2 {
		select {
		case <-deadline:
			t.Fatalf("counts %v", s.Counts())
		case <-time.After(time.Millisecond):
		}
	}
	s.Close()
	s.Buy("a", 1)
	if n := s.PendingWebhooks(); n != 0 {
		t.Fatalf("a closed shop has %d webhooks pending", n)
	}
	if err := s.SendWebhooks(Target{URL: server.URL, Secret: secret}); err == nil {
		t.Fatal("a closed shop takes a target")
	}
}

func TestWebhookSecretIsChecked(t *testing.T) {
	s, _ := shopOf(t, ShopConfig{})
	err := s.SendWebhooks(Target{URL: "http://truestock.invalid/", Secret: "whsec_no base64 at all"})
	if err == nil || bytes.Contains([]byte(err.Error()), []byte("no base64 at all")) {
		t.Fatalf("error %v", err)
	}
}

func TestCloseWhileTheReceiverHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := shopOf(t, ShopConfig{}, "a")
		hang := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		if err := s.SendWebhooks(Target{URL: "http://truestock.invalid/", Secret: secret, Transport: Transport(hang)}); err != nil {
			t.Fatal(err)
		}
		s.Buy("a", 1)
		synctest.Wait()
		began := time.Now()
		s.Close() // a goroutine that stays would fail the test
		if d := time.Since(began); d != 0 {
			t.Fatalf("closed after %v", d)
		}
	})
}
