package simtest

import (
	"fmt"
	"strings"
)

// Report writes docs/correctness.md: what the simulator checks, and which planted bugs it has caught.
func Report(caught []Caught) string {
	var b strings.Builder
	b.WriteString(`# Correctness

This page is written by ` + "`go test ./sync/simtest -run TestPlanted -bug all -update`" + `; edit sync/simtest/report.go instead.

## What is simulated
The real engine on the real store (SQLite), between pretend shops and a pretend warehouse that speak the open protocol in
process, on a pretended clock. One seed decides the world (1 to 3 shops; conditional, overwriting and gross quantities; read lag,
batches, maxima; a warehouse that counts on hand or available, with or without positions, and then perhaps one that can be
asked how orders stand; packs, bundles, several listings of one
article; policies), what happens (orders, cancellations, edits, receipts, counts, damage, transfers, returns, shipments, rejections,
edits by hand, late and changed mappings, pauses, reconciliations amid the traffic), what people decide (policies, windows,
campaigns, keys, ratios, clearances, the capacity of services, stopped sales, alerts) and the faults. See [decision 0012](decisions/0012-simulation.md) and
[decision 0043](decisions/0043-rules-at-random.md). Run it: ` + "`truestock simulate --seeds 1000`" + `.

| fault | what it does |
|---|---|
`)
	for _, f := range faultTexts {
		fmt.Fprintf(&b, "| %s | %s |\n", f[0], f[1])
	}
	b.WriteString(`
## What must hold
Known from the pretend systems alone, with sums that are written apart from the engine's:

- Every webhook that was answered 2xx is stored once, as it came, and was applied, whatever crashed (G1, G9).
- Every chain of postings is whole, levels are the sums of their postings, on hand is what the warehouse has, committed is what is
  open (G2).
- Of an article that one conditional listing alone sells, nothing is sold that is not there; and no listing is ever written below
  what is there for certain (G3).
- When the faults have stopped, every listing shows its target without a reconciliation, after one everything else does too, the
  warehouse has every order once and as it stands, shops know what was sent, and then nothing is written any more (G4).
- With one shop dead for ever, all of this holds for the others (liveness).
- A raise is written only with every order known that the shop had sold by the reading that it starts from, and only while the
  system of record was heard of lately: without positions, of each article and place that the number rests on (G5).
- The explanation of every number leads without a gap from a statement to what was read back, names events that exist, agrees
  with sums that are made apart from it, and says of the past what it said then (G10).
- A reconciliation counts exactly the listings that differ; an incident about overselling is open exactly while more is promised
  than there is (G12).
- The same seed gives the same run, instant by instant (G6); what came in, in another order and partly twice, leads to the same
  state (G7, G8); writes are bounded by what happened, and no pass goes on without end (G11).

- A listing is given up only after three looks in vain, one after the other.
- Of what is sold by a window no more is sold in it than its cap, nor in any minute more than the rate; a raise amid a campaign is
  never above what the campaign has opened and not sold, and what is set aside is what the campaigns have a right to; with an oversell
  ratio no more is sold than ⌊n × ratio⌋, and no ratio above the bound is taken; a key stays with its unit, no unit has two, and
  nobody waits while a key is free. The first three where one conditional listing alone sells. After the end everything else holds for
  these articles too, whatever was decided meanwhile, and ` + "`truestock verify`" + ` finds nothing.
- A service, and each day of it, shows what at every instant of that day the least of its resources has left, counted from the orders
  that were placed, whichever service they are of, and nothing from its cut-off on; a raise of it is never above that; an incident says
  exactly while more of a resource is booked than there is.
- Once the engine has worked off everything since a person stopped a sale, no target of it is above 0 and nothing is raised; when the sale goes
  on, the number comes back.
- Of each fall of a number below its threshold one notice is stored, the next only after the number has risen by its hysteresis; each comes to
  every receiver under one id, as does each incident and its end, whatever crashed, and what a receiver has confirmed it is not told again; quiet
  hours and digests hold nothing back for longer than they last.
- After an absence of more than half of what senders try, nothing is raised before the orders were fetched from ten minutes before it on, and
  once more; a dropped subscription is made again.
- A raise at a shop that can check says what the shop must still show; a write without an answer is looked at again when it can no
  longer arrive (G3, G4).

Which rule, fault, planted bug and test belongs to each law and each problem, [laws.md](laws.md) says.

## What is not simulated
Several processes on one database, places within a shop, renames and merges of articles. Our own clock never goes back against
instants that we have noted ourselves: the pretended clock cannot, so ours is put back by putting all others forward. No clock
but ours is put back: an instant that a source has given out must not come again (docs/open-protocol.yaml). The clock of a shop that sells by
windows, days or campaigns is right, for it decides what was sold before an instant. A disk that fails keeps the names of its files.
A service is sold one window ahead: of several, the order in which orders come decides which is taken. Thresholds of listings, escalations
and acknowledgements are tested beside their rule only, and so are channels that stop a listing by itself.

## Measured
| what | figure |
|---|---|
| safety, 3000 to 3999 | 1,283 simulated hours, 996 seeds in order with the program of then; the four others, 3255, 3332, 3606 and 3762, are in order with the present one |
| safety, 3000 to 3099 and 5000 to 5149, after those repairs | 249 of 250 seeds in order; the other, 5022, led to one more repair and is in order since |
| safety, 13000 to 13599, with every fault and every rule drawn | 598 of 600 seeds in order; in the two others, 13249 and 13397, the oracles were wrong: they asked a process that had lost the power what it knew, and took a raise that came late for a lower |
| safety, 21000 to 21099, with services, stopped sales and notices drawn too | before the repair of what the warehouse says of a service's day every fourth seed failed for it; since then 98 of 100 in order; in the two others, 21077 and 21099, the simulation was wrong |
| safety, 22000 to 22099, likewise | 98 of 100 in order; in the two others, 22034 and 22040, a day was closed at the very instant of the look, which no day is any more |
| safety, 40000 to 40299, likewise | 297 of 300 in order; in the three others, 40081, 40198 and 40286, an order of an article with windows that was cancelled before it was applied held up all events; they are in order since that was repaired |
| liveness | seeds 4000 to 4059: 60 in order |
| sold and not there, where one conditional listing sells alone | 0 units in all of these, but for 2 in seed 3332 before its repair ([0030](decisions/0030-raises-rest-on-what-shows.md)) |
| sold and not there elsewhere (several listings, or writes that cannot be conditional) | 200 units in the seeds 3000 to 3099 |
| offered too little, against somebody who knows everything at once, faults and outages included | 26 ‰ in the seeds 3000 to 3099, looked at each full minute |

What is offered was looked at right after each round of questions until then, which is before the engine has done anything about the
answers, and first a second after the start, when nothing is on offer yet: that gave 57 ‰, about half of it from the first look. What
is left are listings whose warehouse has not said anything yet or whose connection is paused until a person comes, and writes that a
shop refused, which are sent again when the number changes.

## Planted bugs
Each is a naive design, planted by decorators of the simulator between the engine and the world, so that no release can contain it.
A bug counts as caught by a seed that is in order without it, within 200 seeds; the decorators alone change nothing, which
TestDecoratorsChangeNothing demands. "Seen in" names a public project whose source
makes the same mistake, or did when it was read. Seeds and sentences of the bugs that are older than the rules of sale are of the
seeds as they were before those were drawn.

| bug | what it does | problem | seen in | caught by seed | seeds tried | what the oracles said first |
|---|---|---|---|---|---|---|
`)
	found := 0
	for _, c := range caught {
		seed := "none"
		if c.Seed > 0 {
			found++
			seed = fmt.Sprint(c.Seed)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %d | %s |\n", c.Name, c.Says, c.Problem, c.Peer, seed, c.Tried, strings.ReplaceAll(c.Violation, "|", "/"))
	}
	fmt.Fprintf(&b, "\nCaught: %d of %d.\n\n## Seeds that found something\n\n| seed | what was wrong |\n|---|---|\n", found, len(caught))
	for _, f := range Found() {
		fmt.Fprintf(&b, "| %d | %s |\n", f.Seed, f.Says)
	}
	return b.String()
}

// faultTexts describe the groups of faults.
var faultTexts = [][2]string{
	{FaultAPI, "late answers, 429, 500, 503, pages for people instead of JSON"},
	{FaultAuth, "401 to the right credentials"},
	{FaultUnknown, "calls that took effect without saying so, or twice"},
	{FaultLines, "single lines of a write throttled, refused or called stale"},
	{FaultLie, "writes that are confirmed and not done"},
	{FaultLag, "reads that show an old value for longer than announced"},
	{FaultLevels, "exports with rows left out"},
	{FaultReject, "the warehouse rejects orders by itself"},
	{FaultDelay, "webhooks that come late, and so out of order"},
	{FaultDuplicate, "webhooks that come twice, under the same id or another"},
	{FaultDrop, "webhooks that never come"},
	{FaultLate, "requests that take effect long after their sender has given up"},
	{FaultOutage, "a shop or the warehouse cannot be reached"},
	{FaultCrash, "the process ends before or after any call and any transaction, and starts again"},
	{FaultStore, "the database does not take a transaction"},
	{FaultManual, "people edit quantities at a shop"},
	{FaultMapping, "listings are mapped late, and mapped anew while orders are open"},
	{FaultSwizzle, "all links are clogged one after the other, and released in another order"},
	{FaultRival, "another tool writes numbers of its own to a listing, a few times"},
	{FaultExport, "exports that are empty, cut off, incomplete, malformed in several ways, of earlier, or about articles that nobody knows"},
	{FaultVanish, "a shop does not know a listing for a while"},
	{FaultSender, "senders of webhooks that give up at once, within a minute or within a quarter of an hour"},
	{FaultSlow, "the database takes its time"},
	{FaultTiny, "every batch holds three at most"},
	{FaultOperator, "connections are paused and resumed; reconciliations run amid the traffic"},
	{FaultPolicies, "policies for a listing, an article, a channel or everything are decided, at once or for later, and taken back"},
	{FaultWindows, "an unlimited article with a cap and a rate, and a quota, whose windows begin amid the traffic and whose caps change"},
	{FaultPools, "campaigns set units aside, for a listing or nobody, open them by tranches, are changed, taken back and end; some outlast the run"},
	{FaultKeys, "a licence is sold by keys, which are imported, revealed and revoked"},
	{FaultRatio, "more is sold than there is, within a ratio that is changed, refused and taken back"},
	{FaultClearance, "clearances are decided, which must change no number"},
	{FaultServices, "two services are sold by days ahead that share a crew, whose capacity changes and of which some are away; their days are closed amid the traffic"},
	{FaultStops, "a person stops the sale of an article, a listing, a channel or everything, at once or for later, and mostly starts it again"},
	{FaultNotices, "people are told of low numbers and of incidents, at once and by digest, by receivers that cannot be reached, say nothing or refuse; what is low changes"},
	{FaultHorizon, "senders of webhooks give up within four minutes, and absences are longer than that, so that channels catch up"},
	{FaultSubscribe, "shops drop the subscription and tell nothing until it is made again"},
	{FaultClock, "clocks are wrong by up to four minutes; others are put forward, ours forward and back"},
	{FaultPower, "the power fails amid a write to the disk: of what was not synced any part is lost, and the process starts from the rest"},
	{FaultTwice, "reconciliations are asked for twice, amid one another, and as a rehearsal, which must write nothing"},
}
