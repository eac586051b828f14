package simtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
)

// world is what a seed makes: the systems, the catalogue and the policies. It does not change during a run.
type world struct {
	basis      string
	positions  bool
	amend      bool
	answers    bool // the warehouse can be asked how an order stands
	corrects   bool // the warehouse books what stocktakes find
	telling    bool // the warehouse states levels beside movements
	locations  []open.Location
	shops      []shopSpec
	articles   []article
	listings   []listingSpec
	permille   map[fake.Fault]int
	shopPage   int // rows of a page, of a shop and of the warehouse
	recordPage int
	storeFails int  // permille of transactions that the database does not take
	slow       bool // transactions take their time
	tiny       int  // the most that a batch holds; 0 leaves it to the engine
	senders    map[string][]time.Duration
	clocks     bool      // clocks are wrong
	epoch      time.Time // when the run begins
	services   []serviceSpec
	roll       time.Duration // how long after that the windows of what is sold by windows begin
}

type shopSpec struct {
	name     string
	caps     open.MarketplaceCapabilities
	restocks bool
	accepts  bool // answers accepted instead of ok
	policy   stock.Policy
	feed     time.Duration // writes are done so long after they are answered
}

// article is a SKU. A guarded one is sold by one listing alone, and nothing befalls it that no system could foresee:
// no shrinkage, no edits by hand, no late mapping.
type article struct {
	sku     string
	opening []int64 // per location
	guarded bool
	rule    string // by which it is sold; empty: what is there
}

type listingSpec struct {
	shop  int
	item  string
	parts []partSpec
	// late listings are mapped during the traffic only.
	late bool
	// initial is what the shop shows before anything is synchronised.
	initial int64
	guarded bool
	rule    string // that of its article
}

type partSpec struct {
	sku   string
	units int64
}

func newWorld(seed uint64, faults []string) *world {
	r := dice(seed, "world")
	has := func(f string) bool { return slices.Contains(faults, f) }
	w := &world{basis: fake.OnHand, positions: r.IntN(3) > 0, amend: r.IntN(2) == 0, telling: r.IntN(3) == 0, shopPage: 5, recordPage: 7, permille: map[fake.Fault]int{}}
	w.answers = dice(seed, "answers").IntN(2) == 0
	w.corrects = dice(seed, "corrects").IntN(2) == 0
	if r.IntN(2) == 0 {
		w.basis = fake.Available
	}
	w.locations = []open.Location{{ID: "main", Name: "Main"}}
	if r.IntN(3) == 0 {
		w.locations = append(w.locations, open.Location{ID: "south", Name: "South"})
	}
	for i := range 1 + r.IntN(3) {
		w.shops = append(w.shops, newShopSpec(r, i).withClass(dice(seed, "class", i)))
	}
	w.catalogue(r, has(FaultMapping))
	for f, group := range apiFaults {
		// Drawn in any case, so that one group less leaves the others as they are.
		if p := 5 + dice(seed, "permille", f).IntN(40); has(group) {
			w.permille[f] = p
		}
	}
	if has(FaultStore) {
		w.storeFails = 2 + r.IntN(10)
	}
	w.slow = has(FaultSlow)
	if has(FaultTiny) {
		w.tiny = 1 + dice(seed, "tiny").IntN(3)
	}
	if has(FaultSender) {
		w.senders = map[string][]time.Duration{}
		for _, name := range w.hosts() {
			w.senders[name] = senders[dice(seed, "sender", name).IntN(len(senders))]
		}
	}
	for i := range w.shops {
		w.shops[i].caps.Subscriptions = has(FaultSubscribe)
	}
	w.clocks = has(FaultClock)
	w.epoch = time.Now()
	w.withRules(seed, has)
	return w
}

// hosts are all that the engine talks to.
func (w *world) hosts() []string {
	names := []string{recordName}
	for _, spec := range w.shops {
		names = append(names, spec.name)
	}
	return names
}

// apiFaults says to which group a fault of the pretend systems belongs.
var apiFaults = map[fake.Fault]string{
	fake.APIDelay: FaultAPI, fake.TooManyRequests: FaultAPI, fake.ServerError: FaultAPI, fake.Unavailable: FaultAPI,
	fake.EmptyBody: FaultUnknown, fake.TruncatedBody: FaultUnknown, fake.HTMLBody: FaultAPI, fake.WrongToken: FaultAuth,
	fake.TimeoutApplied: FaultUnknown, fake.ServerErrorApplied: FaultUnknown, fake.AppliedTwice: FaultUnknown,
	fake.ThrottleLines: FaultLines, fake.RejectLines: FaultLines, fake.StaleLines: FaultLines,
	fake.Lie: FaultLie, fake.LateRead: FaultLag, fake.PartialLevels: FaultLevels, fake.RejectOrder: FaultReject,
}

func newShopSpec(r *rand.Rand, i int) shopSpec {
	s := shopSpec{name: fmt.Sprintf("shop%d", i+1), restocks: r.IntN(2) == 0, accepts: r.IntN(4) == 0}
	s.caps = open.MarketplaceCapabilities{ShopID: s.name, Name: s.name, BatchSize: 1 + r.IntN(5), Shipments: true, IdempotentWrite: r.IntN(2) == 0}
	// The first shop is more often one with conditional writes: those are held to the strictest oracle.
	class := r.IntN(4)
	if i == 0 && r.IntN(2) == 0 {
		class = 0
	}
	switch class {
	case 0, 1:
		s.caps.ConditionalWrite = true
	case 2:
		s.caps.QuantityMeans = fake.MeansGross
	}
	if r.IntN(3) == 0 {
		s.caps.ReadLagMS = int64(200 + r.IntN(5000))
	}
	if r.IntN(6) == 0 {
		s.caps.MaxQuantity = int64(20 + r.IntN(80))
	}
	if r.IntN(3) == 0 {
		s.policy.SharePermille = new(int64(300 + r.IntN(701)))
	}
	if r.IntN(3) == 0 {
		s.policy.Buffer = stock.Quantity(r.IntN(4))
	}
	if r.IntN(4) == 0 {
		s.policy.Threshold = stock.Quantity(1 + r.IntN(4))
	}
	if r.IntN(4) == 0 {
		s.policy.Cap = new(stock.Quantity(5 + r.IntN(40)))
	}
	return s
}

// withClass spreads the shops that overwrite over the classes that the protocol can tell apart. It has a stream of its
// own, so that the rest of a world is what it would be without.
func (s shopSpec) withClass(r *rand.Rand) shopSpec {
	if s.caps.ConditionalWrite || s.caps.QuantityMeans != "" {
		return s
	}
	switch r.IntN(5) {
	case 0, 1:
		s.caps.DeltaWrite, s.caps.IdempotentWrite = true, true
	case 2:
		s.caps.DeductsSinceWrite = true
	case 3:
		s.caps.AsynchronousWrite, s.feed = true, time.Duration(1+r.IntN(20))*time.Second
	}
	return s
}

// catalogue makes articles and what sells them: two that one listing each sells alone, and a few that singles, packs
// and bundles share over all shops.
func (w *world) catalogue(r *rand.Rand, late bool) {
	for i := range 5 {
		a := article{sku: fmt.Sprintf("SKU-%d", i+1), guarded: i < 2}
		for range w.locations {
			a.opening = append(a.opening, int64(r.IntN(30)))
		}
		if i == 1 {
			a.opening[0] = 400 // never near zero: a zero for it is a mistake
		}
		w.articles = append(w.articles, a)
	}
	for i := range 2 {
		l := listingSpec{item: fmt.Sprintf("own-%d", i+1), parts: []partSpec{{w.articles[i].sku, int64(1 + r.IntN(3)/2)}}, guarded: true}
		w.listings = append(w.listings, l)
	}
	shared := w.articles[2:]
	for s := range w.shops {
		for i := range 3 + r.IntN(3) {
			l := listingSpec{shop: s, item: fmt.Sprintf("item-%d", i+1), initial: int64(r.IntN(4) / 3 * r.IntN(6))}
			parts := 1
			if r.IntN(3) == 0 {
				parts = 2
			}
			for _, j := range r.Perm(len(shared))[:parts] {
				l.parts = append(l.parts, partSpec{shared[j].sku, int64(1 + r.IntN(4)/2)})
			}
			slices.SortFunc(l.parts, func(a, b partSpec) int { return compareText(a.sku, b.sku) })
			l.late = r.IntN(5) == 0 && late
			w.listings = append(w.listings, l)
		}
	}
}

// Action is something that somebody in the world does. A, B and C are drawn by chance; what they mean depends on the
// kind and on the state that the action meets, so that an action keeps a meaning when others are taken out.
type Action struct {
	At      time.Duration
	Kind    string
	A, B, C uint64
}

// kinds are the actions with how often they happen, and the group of faults that they belong to.
var kinds = []struct {
	name   string
	weight int
	fault  string
}{
	{"buy", 40, ""}, {"cancel", 6, ""}, {"cancel_some", 4, ""}, {"edit", 4, ""},
	{"receive", 8, ""}, {"ship", 14, ""}, {"ship_one", 4, ""}, {"return", 3, ""},
	{"adjust", 3, ""}, {"count", 2, ""}, {"damage", 2, ""}, {"transfer", 2, ""},
	{"reject", 2, FaultReject}, {"hand", 4, FaultManual}, {"map", 3, FaultMapping}, {"remap", 2, FaultMapping},
	{"outage", 3, FaultOutage}, {"crash", 5, FaultCrash}, {"late", 5, FaultLate},
	{"pause", 2, FaultOperator}, {"reconcile", 3, FaultOperator},
}

// history draws what happens during the traffic, sorted by time. Bursts are likely: what races, races within seconds.
func history(seed uint64, faults []string, traffic time.Duration) []Action {
	r := dice(seed, "history")
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	var out []Action
	at := time.Duration(0)
	for {
		if gap := r.IntN(10); gap < 5 {
			at += time.Duration(r.IntN(3000)) * time.Millisecond
		} else {
			at += time.Duration(r.IntN(90_000)) * time.Millisecond
		}
		if at >= traffic {
			break
		}
		n := r.IntN(total)
		a := Action{At: at, A: r.Uint64(), B: r.Uint64(), C: r.Uint64()}
		for _, k := range kinds {
			if n -= k.weight; n < 0 {
				if k.fault == "" || slices.Contains(faults, k.fault) {
					a.Kind = k.name
					out = append(out, a)
				}
				break
			}
		}
	}
	return withStrange(seed, withStocktakes(seed, withSnatches(seed, out, traffic), traffic), faults, traffic)
}

// withSnatches adds customers who buy while the engine is between two calls to the shop. They have a stream of their own,
// so that the rest of a history is what it would be without them.
func withSnatches(seed uint64, history []Action, traffic time.Duration) []Action {
	r := dice(seed, "snatches")
	for range r.IntN(40) {
		history = append(history, Action{At: time.Duration(r.Int64N(int64(traffic))), Kind: "snatch", A: r.Uint64(), B: r.Uint64(), C: r.Uint64()})
	}
	slices.SortStableFunc(history, func(a, b Action) int { return int(a.At - b.At) })
	return history
}

// guards tells whether an article is guarded.
func (w *world) guards(sku string) bool {
	return slices.ContainsFunc(w.articles, func(a article) bool { return a.guarded && a.sku == sku })
}
