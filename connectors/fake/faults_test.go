package fake

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors/open"
)

func writeBodyOf(items ...string) open.WriteRequest {
	var req open.WriteRequest
	for i, item := range items {
		req.Writes = append(req.Writes, open.Write{ID: fmt.Sprint(i), Item: item, Quantity: 5, Expect: new(int64(10))})
	}
	return req
}

func TestFaultsThatRefuseACall(t *testing.T) {
	for _, tc := range []struct {
		fault      Fault
		status     int
		retryAfter string
	}{
		{TooManyRequests, http.StatusTooManyRequests, "2"},
		{Unavailable, http.StatusServiceUnavailable, "2"},
		{ServerError, http.StatusInternalServerError, ""},
		{WrongToken, http.StatusUnauthorized, ""},
		{HTMLBody, http.StatusOK, ""},
	} {
		t.Run(string(tc.fault), func(t *testing.T) {
			s, c := shopOf(t, ShopConfig{Faults: Faults{RetryAfter: 1500 * time.Millisecond}}, "a")
			s.FailNext(1, tc.fault)
			status, header, body, err := c.raw(t.Context(), "POST", "/stock/write", writeBodyOf("a"))
			if err != nil || status != tc.status || header.Get("Retry-After") != tc.retryAfter {
				t.Fatalf("answered %d, Retry-After %q, %v", status, header.Get("Retry-After"), err)
			}
			if answer := new(open.WriteAnswer); tc.fault == HTMLBody && json.Unmarshal(body, answer) == nil {
				t.Fatalf("the page for people is JSON: %s", body)
			}
			if q, _ := s.Quantity("a", ""); q != 10 || s.WriteCount() != 0 || s.Counts()[tc.fault] != 1 {
				t.Fatalf("a has %d, %d writes, counts %v", q, s.WriteCount(), s.Counts())
			}
			c.write(open.Write{ID: "1", Item: "a", Quantity: 5}) // one shot only
		})
	}
}

func TestFaultsThatDoTheWorkAndAnswerBadly(t *testing.T) {
	for _, tc := range []struct {
		fault  Fault
		status int
	}{{EmptyBody, 200}, {TruncatedBody, 200}, {ServerErrorApplied, 500}} {
		t.Run(string(tc.fault), func(t *testing.T) {
			s, c := shopOf(t, ShopConfig{}, "a")
			s.FailNext(1, tc.fault)
			status, _, body, err := c.raw(t.Context(), "POST", "/stock/write", writeBodyOf("a"))
			if err != nil || status != tc.status {
				t.Fatalf("answered %d, %v", status, err)
			}
			if answer := new(open.WriteAnswer); status == 200 && json.Unmarshal(body, answer) == nil {
				t.Fatalf("the body is whole: %s", body)
			}
			if q, _ := s.Quantity("a", ""); q != 5 {
				t.Fatalf("a has %d", q)
			}
		})
	}
}

func TestFaultTimeoutThatApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := shopOf(t, ShopConfig{}, "a")
		s.FailNext(2, TimeoutApplied)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, _, _, err := c.raw(ctx, "POST", "/stock/write", writeBodyOf("a")); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		if q, _ := s.Quantity("a", ""); q != 5 {
			t.Fatalf("a has %d", q)
		}
		began := time.Now()
		c.want(http.StatusGatewayTimeout, "POST", "/stock/write", writeBodyOf("a"))
		if d := time.Since(began); d != 30*time.Second {
			t.Fatalf("silent for %v", d)
		}
	})
}

func TestFaultDelayAndHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := shopOf(t, ShopConfig{Faults: Faults{APIDelay: time.Minute}}, "a")
		s.FailNext(1, APIDelay)
		began := time.Now()
		c.readOne("a")
		if d := time.Since(began); d <= 0 || d > time.Minute {
			t.Fatalf("late by %v", d)
		}
		s.FailNext(5, TimeoutApplied)
		go func() {
			time.Sleep(time.Second)
			s.Heal()
		}()
		began = time.Now()
		c.want(http.StatusGatewayTimeout, "POST", "/stock/write", writeBodyOf("a"))
		if d := time.Since(began); d != time.Second {
			t.Fatalf("released after %v, not by healing", d)
		}
		c.want(http.StatusOK, "POST", "/stock/write", writeBodyOf("a")) // the script is gone
	})
}

func TestCloseReleasesWaitingCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := shopOf(t, ShopConfig{}, "a")
		s.FailNext(1, TimeoutApplied)
		go func() {
			time.Sleep(time.Second)
			s.Close()
		}()
		began := time.Now()
		c.want(http.StatusGatewayTimeout, "POST", "/stock/write", writeBodyOf("a"))
		if d := time.Since(began); d != time.Second {
			t.Fatalf("released after %v", d)
		}
		c.want(http.StatusServiceUnavailable, "GET", "/capabilities", nil)
	})
}

func TestFaultAppliedTwice(t *testing.T) {
	s, c := shopOf(t, ShopConfig{Capabilities: open.MarketplaceCapabilities{ConditionalWrite: true}}, "a")
	s.FailNext(1, AppliedTwice)
	got := call[open.WriteAnswer](c, "POST", "/stock/write", writeBodyOf("a")).Results[0]
	// The second time the expectation is no longer true: done, and answered stale.
	if got.Status != "stale" || *got.Quantity != 5 || s.WriteCount() != 2 {
		t.Fatalf("got %+v after %d writes", got, s.WriteCount())
	}
}

func TestFaultsOfSomeLines(t *testing.T) {
	for _, tc := range []struct {
		fault  Fault
		status string
	}{{ThrottleLines, "throttled"}, {RejectLines, "rejected"}, {StaleLines, "stale"}} {
		t.Run(string(tc.fault), func(t *testing.T) {
			items := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
			s, c := shopOf(t, ShopConfig{Capabilities: open.MarketplaceCapabilities{ConditionalWrite: true}}, items...)
			s.FailNext(1, tc.fault)
			met := 0
			for i, r := range call[open.WriteAnswer](c, "POST", "/stock/write", writeBodyOf(items...)).Results {
				want := int64(5)
				if r.Status == tc.status {
					met++
					want = 10
				} else if r.Status != "ok" {
					t.Fatalf("got %+v", r)
				}
				if q, _ := s.Quantity(items[i], ""); q != want {
					t.Fatalf("%s has %d after %+v", items[i], q, r)
				}
				if log := s.Writes()[i]; (log.Fault == tc.fault) != (r.Status == tc.status) {
					t.Fatalf("log %+v of %+v", log, r)
				}
			}
			if met == 0 || met == len(items) {
				t.Fatalf("%d of %d lines were met", met, len(items))
			}
		})
	}
}

func TestFaultLie(t *testing.T) {
	s, c := shopOf(t, ShopConfig{}, "a")
	s.FailNext(1, Lie)
	if got := c.write(open.Write{ID: "1", Item: "a", Quantity: 5})[0]; got.Status != "ok" || c.readOne("a") != 10 {
		t.Fatalf("got %+v, shows %d", got, c.readOne("a"))
	}
	if log := s.Writes()[0]; log.Status != "ok" || log.After != 10 || log.Fault != Lie {
		t.Fatalf("log %+v", log)
	}
}

func TestFaultLateRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := shopOf(t, ShopConfig{}, "a")
		s.FailNext(1, LateRead)
		c.write(open.Write{ID: "1", Item: "a", Quantity: 5})
		if q := c.readOne("a"); q != 10 {
			t.Fatalf("at once: %d", q)
		}
		time.Sleep(500 * time.Millisecond)
		if q := c.readOne("a"); q != 5 {
			t.Fatalf("after the lag: %d", q)
		}
	})
}

func TestFaultsOfOtherCallsWait(t *testing.T) {
	s, c := shopOf(t, ShopConfig{}, "a")
	s.FailNext(1, Lie)
	s.FailNext(1, ServerError)
	c.want(http.StatusInternalServerError, "GET", "/capabilities", nil)
	c.write(open.Write{ID: "1", Item: "a", Quantity: 5})
	if c.readOne("a") != 10 {
		t.Fatal("the lie did not wait for a write")
	}
}

// history drives a shop with faults of chance and returns all that can be seen of it.
func history(t *testing.T, seed uint64) (statuses []int, log []WriteRecord, counts map[Fault]int) {
	permille := map[Fault]int{}
	for _, f := range faultsOfWrites {
		permille[f] = 40
	}
	s, c := shopOf(t, ShopConfig{Seed: seed, Faults: Faults{Permille: permille, Hang: time.Second}}, "a", "b", "c")
	for i := range 200 {
		s.Buy("a", 1)
		status, _, _, err := c.raw(t.Context(), "POST", "/stock/write", open.WriteRequest{Writes: []open.Write{
			{ID: fmt.Sprint("a", i), Item: "a", Quantity: int64(i % 7)}, {ID: fmt.Sprint("b", i), Item: "b", Quantity: int64(i % 5)}}})
		if err != nil {
			t.Fatal(err)
		}
		statuses = append(statuses, status)
		time.Sleep(time.Millisecond)
	}
	return statuses, s.Writes(), s.Counts()
}

func TestTheSeedDecides(t *testing.T) {
	type seen struct {
		statuses []int
		log      []WriteRecord
		counts   map[Fault]int
	}
	run := func(seed uint64) (got seen) {
		synctest.Test(t, func(t *testing.T) { got.statuses, got.log, got.counts = history(t, seed) })
		return got
	}
	one, again, other := run(1), run(1), run(2)
	if !reflect.DeepEqual(one, again) {
		t.Fatal("one seed gave two histories")
	}
	if slices.Equal(one.statuses, other.statuses) {
		t.Fatal("two seeds gave one history")
	}
	for _, f := range faultsOfWrites {
		if one.counts[f]+other.counts[f] == 0 {
			t.Errorf("%s never happened", f)
		}
	}
}

func TestPermilleIsAShareOfCalls(t *testing.T) {
	s, c := shopOf(t, ShopConfig{Seed: 5}, "a")
	s.SetFaults(Faults{Permille: map[Fault]int{ServerError: 300}})
	failed := 0
	for range 1000 {
		if status, _, _, _ := c.raw(t.Context(), "GET", "/capabilities", nil); status == http.StatusInternalServerError {
			failed++
		}
	}
	if failed < 250 || failed > 350 || s.Counts()[ServerError] != failed {
		t.Fatalf("%d of 1000 failed, counted %d", failed, s.Counts()[ServerError])
	}
}
