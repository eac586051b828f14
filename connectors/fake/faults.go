package fake

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// Fault is one way in which a server misbehaves.
type Fault string

// The faults of the API. Those of the first group meet every call, those of the second calls that change something,
// the others the calls that they name.
const (
	// APIDelay answers late, by up to Faults.APIDelay.
	APIDelay Fault = "api_delay"
	// TooManyRequests answers 429 with Retry-After and does nothing.
	TooManyRequests Fault = "api_429"
	// ServerError answers 500 and does nothing.
	ServerError Fault = "api_500"
	// Unavailable answers 503 with Retry-After and does nothing.
	Unavailable Fault = "api_503"
	// WrongToken answers 401 to the right token and does nothing.
	WrongToken Fault = "api_401"
	// EmptyBody does the work and answers 200 without a body.
	EmptyBody Fault = "api_empty_body"
	// TruncatedBody does the work and answers 200 with the first half of the body.
	TruncatedBody Fault = "api_truncated_body"
	// HTMLBody does nothing and answers 200 with a page for people, as a proxy in front does.
	HTMLBody Fault = "api_html_body"

	// TimeoutApplied does the work, then is silent until the client gives up; after Faults.Hang it answers 504.
	TimeoutApplied Fault = "api_timeout_applied"
	// ServerErrorApplied does the work and answers 500.
	ServerErrorApplied Fault = "api_500_applied"
	// AppliedTwice does the work twice, as a gateway that repeats requests, and gives the second answer.
	AppliedTwice Fault = "api_applied_twice"

	// ThrottleLines answers POST /stock/write with some lines throttled, which it leaves undone.
	ThrottleLines Fault = "api_throttle_lines"
	// RejectLines answers POST /stock/write with some lines rejected, which it leaves undone.
	RejectLines Fault = "api_reject_lines"
	// Lie answers POST /stock/write with ok for every line and changes nothing.
	Lie Fault = "api_lie"
	// StaleLines answers stale to some of the lines of POST /stock/write that name the value they expect.
	StaleLines Fault = "api_stale_lines"
	// LateRead makes what POST /stock/write changes visible to readers only after Faults.ReadLag.
	LateRead Fault = "api_late_read"
	// PartialLevels leaves rows out of a page of GET /levels; the count stays that of the whole.
	PartialLevels Fault = "api_partial_levels"
	// RejectOrder takes an order through POST /orders, answers with its number, and rejects it by itself afterwards.
	RejectOrder Fault = "api_reject_order"
)

// The faults of webhooks. At most one meets each event.
const (
	// WebhookDelay sends late, by up to Faults.WebhookDelay.
	WebhookDelay Fault = "webhook_delay"
	// WebhookDuplicate sends twice with the same webhook-id, the second within Faults.WebhookDelay.
	WebhookDuplicate Fault = "webhook_duplicate"
	// WebhookRemint sends twice, the second with a webhook-id of its own, within Faults.WebhookDelay.
	WebhookRemint Fault = "webhook_remint"
	// WebhookReorder sends after the event that comes next, or after Faults.WebhookDelay when none comes.
	WebhookReorder Fault = "webhook_reorder"
	// WebhookDrop never sends.
	WebhookDrop Fault = "webhook_drop"
)

// What else Counts counts: no faults that were asked for, but what a test may want to know.
const (
	// WebhookOverflow counts the events that were lost because the queue was full.
	WebhookOverflow Fault = "webhook_overflow"
	// WebhookGivenUp counts the deliveries that the receiver refused on every try.
	WebhookGivenUp Fault = "webhook_given_up"
	// WebhookDelivered counts the deliveries that were answered 2xx.
	WebhookDelivered Fault = "webhook_delivered"
)

var (
	faultsOfCalls    = []Fault{WrongToken, TooManyRequests, Unavailable, ServerError, HTMLBody, EmptyBody, TruncatedBody, APIDelay}
	faultsOfChanges  = slices.Concat(faultsOfCalls, []Fault{TimeoutApplied, ServerErrorApplied, AppliedTwice})
	faultsOfWrites   = slices.Concat(faultsOfChanges, []Fault{ThrottleLines, RejectLines, Lie, StaleLines, LateRead})
	faultsOfLevels   = slices.Concat(faultsOfCalls, []Fault{PartialLevels})
	faultsOfOrders   = slices.Concat(faultsOfChanges, []Fault{RejectOrder})
	faultsOfWebhooks = []Fault{WebhookDrop, WebhookDelay, WebhookDuplicate, WebhookRemint, WebhookReorder}
)

// Faults says how often a server misbehaves, and how badly. The zero value never does.
type Faults struct {
	// Permille is how many of a thousand calls, or events, meet the fault. At most one fault meets each.
	Permille map[Fault]int
	// APIDelay is the longest of APIDelay; zero means 100 ms.
	APIDelay time.Duration
	// RetryAfter is what throttled answers ask for, in whole seconds where a header says it; zero means 1 s.
	RetryAfter time.Duration
	// Hang is how long TimeoutApplied is silent at most; zero means 30 s.
	Hang time.Duration
	// ReadLag is how late LateRead shows a change; zero means 500 ms.
	ReadLag time.Duration
	// WebhookDelay is the longest delay of a webhook; zero means 1 s.
	WebhookDelay time.Duration
	// DropOnHeal loses what is delayed when the server is healed, instead of sending it.
	DropOnHeal bool
}

func (f Faults) withDefaults() Faults {
	for _, d := range []struct {
		field    *time.Duration
		fallback time.Duration
	}{
		{&f.APIDelay, 100 * time.Millisecond},
		{&f.RetryAfter, time.Second},
		{&f.Hang, 30 * time.Second},
		{&f.ReadLag, 500 * time.Millisecond},
		{&f.WebhookDelay, time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.fallback
		}
	}
	f.Permille = maps.Clone(f.Permille)
	return f
}

// injector decides which fault is made. The mutex of its server guards it. Calls and webhooks draw from streams of
// their own, so that the pace of a client does not change which events are lost.
type injector struct {
	faults   Faults
	calls    *rand.Rand
	webhooks *rand.Rand
	script   []scripted
	counts   map[Fault]int
	// healed is closed by heal: whoever waits because of a fault stops waiting.
	healed chan struct{}
}

type scripted struct {
	fault Fault
	left  int
}

func newInjector(seed uint64, f Faults) *injector {
	return &injector{
		faults:   f.withDefaults(),
		calls:    rand.New(rand.NewPCG(seed, 1)),
		webhooks: rand.New(rand.NewPCG(seed, 2)),
		counts:   map[Fault]int{},
		healed:   make(chan struct{}),
	}
}

// draw returns the fault to make, "" for none. What a script asks for comes before chance.
func (in *injector) draw(from *rand.Rand, among []Fault) Fault {
	for i, s := range in.script {
		if !slices.Contains(among, s.fault) {
			continue
		}
		if in.script[i].left--; in.script[i].left == 0 {
			in.script = slices.Delete(in.script, i, i+1)
		}
		in.counts[s.fault]++
		return s.fault
	}
	for _, f := range among {
		if p := in.faults.Permille[f]; p > 0 && from.IntN(1000) < p {
			in.counts[f]++
			return f
		}
	}
	return ""
}

// some picks about half of n lines, at least one.
func (in *injector) some(n int) []bool {
	picked := make([]bool, n)
	if n == 0 {
		return picked
	}
	for i := range picked {
		picked[i] = in.calls.IntN(2) == 0
	}
	picked[in.calls.IntN(n)] = true
	return picked
}

func (in *injector) heal() {
	in.faults.Permille = nil
	in.script = nil
	close(in.healed)
	in.healed = make(chan struct{})
}

// upTo draws a duration from just above 0 to most.
func upTo(r *rand.Rand, most time.Duration) time.Duration {
	return 1 + time.Duration(r.Int64N(int64(most)))
}
