// Package simtest simulates the whole system in one process: the real engine on the real store, between pretend shops
// and a pretend warehouse, on the pretended clock of testing/synctest. One seed decides the world, what customers, the
// warehouse and operators do, and every fault; one goroutine drives everything, so the same seed gives the same run.
// After the faults have stopped, oracles that were written apart from the engine say whether the outcome is right.
//
// docs/decisions/0012-simulation.md tells why it is built so, docs/correctness.md what it has found.
package simtest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Mode says which question a run asks.
type Mode string

// The modes.
const (
	// Safety heals everything in the end and demands that everything is right.
	Safety Mode = "safety"
	// Liveness leaves one shop dead for ever and demands that everything else becomes right.
	Liveness Mode = "liveness"
)

// The groups of faults and rules that can be switched off one by one. Each seed uses about half of those that are allowed.
const (
	FaultAPI       = "api"       // late answers, 429, 500, 503, broken and foreign bodies
	FaultAuth      = "auth"      // 401 to the right credentials
	FaultUnknown   = "unknown"   // calls that took effect without saying so, or twice
	FaultLines     = "lines"     // single lines of a write throttled, refused or called stale
	FaultLie       = "lie"       // writes that are confirmed and not done
	FaultLag       = "lag"       // reads that show an old value without having announced it
	FaultLevels    = "levels"    // exports with rows left out
	FaultReject    = "reject"    // the warehouse rejects orders by itself
	FaultDelay     = "delay"     // webhooks that come late, and so out of order
	FaultDuplicate = "duplicate" // webhooks that come twice, under the same id or another
	FaultDrop      = "drop"      // webhooks that never come
	FaultLate      = "late"      // writes that take effect long after their time-out
	FaultOutage    = "outage"    // a shop or the warehouse cannot be reached
	FaultCrash     = "crash"     // the process ends between any two steps and starts again
	FaultStore     = "store"     // the database does not take a transaction
	FaultManual    = "manual"    // people edit quantities at a shop
	FaultMapping   = "mapping"   // listings are mapped late, and mapped anew while orders are open
	FaultOperator  = "operator"  // connections are paused and resumed, reconciliations run amid the traffic
	FaultSwizzle   = "swizzle"   // all links are clogged one after the other, and released in another order
	FaultRival     = "rival"     // another tool writes numbers of its own to a listing
	FaultExport    = "export"    // exports that are empty, cut off, malformed, incomplete or old
	FaultVanish    = "vanish"    // a shop does not know a listing for a while
	FaultSender    = "sender"    // senders of webhooks that give up early
	FaultSlow      = "slow"      // the database takes its time
	FaultTiny      = "tiny"      // every batch is one or a few

	FaultPolicies  = "policies"  // policies of any scope are decided, at once or for later, and taken back
	FaultWindows   = "windows"   // articles are sold by windows, whose caps change
	FaultPools     = "pools"     // campaigns set units aside, open them step by step, are changed and end
	FaultKeys      = "keys"      // a licence is sold by keys, which are imported, revealed and revoked
	FaultRatio     = "ratio"     // more is sold than there is, within a ratio that changes
	FaultClearance = "clearance" // clearances are run
	FaultServices  = "services"  // services are sold by days ahead that share people, whose capacity changes
	FaultStops     = "stops"     // a person stops the sale of something, and starts it again
	FaultNotices   = "notices"   // people are told of low numbers and incidents, by receivers that fail

	FaultHorizon   = "horizon"      // senders of webhooks give up so early that an absence of minutes means catching up
	FaultSubscribe = "subscription" // shops drop the subscription and send nothing until it is made again
	FaultClock     = "clock"        // clocks are wrong by minutes and are set, ours too
	FaultPower     = "power"        // the power fails amid a write to the disk, which loses what was not synced
	FaultTwice     = "twice"        // reconciliations are asked for twice, and while one runs
)

// firstFaults is how many groups of faults there were before rules of sale were among them. Without the others a seed runs
// as it always has: each group has streams of chance of its own.
const firstFaults = 25

// Faults returns every group of faults, and of rules that people decide about amid them.
func Faults() []string {
	return []string{FaultAPI, FaultAuth, FaultUnknown, FaultLines, FaultLie, FaultLag, FaultLevels, FaultReject, FaultDelay, FaultDuplicate,
		FaultDrop, FaultLate, FaultOutage, FaultCrash, FaultStore, FaultManual, FaultMapping, FaultOperator,
		FaultSwizzle, FaultRival, FaultExport, FaultVanish, FaultSender, FaultSlow, FaultTiny,
		FaultPolicies, FaultWindows, FaultPools, FaultKeys, FaultRatio, FaultClearance,
		FaultHorizon, FaultSubscribe, FaultClock, FaultPower, FaultTwice,
		FaultServices, FaultStops, FaultNotices}
}

// Options narrow a run down. The zero value asks for safety under every fault.
type Options struct {
	// Mode is Safety when empty.
	Mode Mode
	// Faults are the groups allowed; nil means all, an empty list none.
	Faults []string
	// Exactly uses every group in Faults instead of about half of them.
	Exactly bool
	// Traffic is how long customers and the warehouse are busy before everything heals; zero means one hour.
	Traffic time.Duration
	// Actions replace those that the seed gives; a shrunk history is a shorter list.
	Actions []Action
	// Bug plants one of Bugs.
	Bug string
	// First ends the run at the first violation.
	First bool
	// Trace keeps the log of the run in Result.Trace.
	Trace bool
}

// Result is the outcome of one run.
type Result struct {
	Seed uint64
	// Violations say what was not right, the first found first; empty when everything was.
	Violations []string
	// TraceHash is that of everything that happened, with its instants.
	TraceHash string
	Trace     []string
	// Faults and Actions are those of the run, for shrinking.
	Faults  []string
	Actions []Action
	// Simulated is how much time passed in the simulation.
	Simulated time.Duration
	// OversoldCAS are units sold beyond what there was of articles that one conditional listing alone sells; OversoldOther
	// those of all other articles.
	OversoldCAS, OversoldOther int64
	// OversoldDelta are those of articles that one listing alone sells which takes changes; OversoldRaw those that one
	// listing alone sells which overwrites, and AtRisk the units that were ordered while a write to such a listing was
	// under way, from the last look at the orders until it took effect: no more than those can be oversold.
	OversoldDelta, OversoldRaw, AtRisk int64
	// Ideal and Missing are sums over samples of articles that one listing alone sells: what somebody who knows everything
	// at once would have offered, and how much less was.
	Ideal, Missing int64
	// Orders were placed, Events received by webhook, Writes made, Raises among them, Crashes survived.
	Orders, Events, Writes, Raises, Crashes int
}

// Failed reports whether the run found anything wrong.
func (r Result) Failed() bool { return len(r.Violations) > 0 }

// UnderPublishedPermille is how much less was offered than could have been, in permille.
func (r Result) UnderPublishedPermille() int64 {
	if r.Ideal == 0 {
		return 0
	}
	return r.Missing * 1000 / r.Ideal
}

// Run runs one seed in a bubble of its own. t is needed for the bubble only: what a run finds is in its result. Runs may
// go on at the same time.
func Run(t *testing.T, seed uint64, o Options) Result {
	t.Helper()
	dir, err := scratch()
	if err != nil {
		return Result{Seed: seed, Violations: []string{err.Error()}}
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var result Result
	synctest.Test(t, func(*testing.T) { result = simulate(seed, o, dir) })
	return result
}

// scratch makes a folder for one database, in memory where the system has such a place.
func scratch() (string, error) {
	for _, parent := range []string{"/dev/shm", ""} {
		if dir, err := os.MkdirTemp(parent, "truestock-sim-"); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("simulate: no folder for the database can be made in %s", os.TempDir())
}

// dice is a source of chance for one decision, named by its parts. Decisions do not share a stream, so that taking one
// action out of a history leaves the fate of everything else as it was.
func dice(seed uint64, parts ...any) *rand.Rand {
	sum := sha256.Sum256(fmt.Append(nil, append([]any{seed}, parts...)...))
	return rand.New(rand.NewChaCha8(sum))
}

// journal is what happened, hashed and, where wanted, kept.
type journal struct {
	start time.Time
	sum   hash.Hash
	keep  bool
	lines []string
}

func (j *journal) note(format string, args ...any) {
	line := fmt.Sprintf("%12s ", time.Since(j.start)) + fmt.Sprintf(format, args...)
	_, _ = j.sum.Write(append([]byte(line), '\n')) // a hash takes everything
	if j.keep {
		j.lines = append(j.lines, line)
	}
}

func (j *journal) hash() string { return hex.EncodeToString(j.sum.Sum(nil)) }

// chosen picks the faults of a seed.
func chosen(seed uint64, o Options) []string {
	allowed := o.Faults
	if allowed == nil {
		allowed = Faults()
	}
	var out []string
	for _, f := range allowed {
		if o.Exactly || dice(seed, "fault", f).IntN(2) == 0 {
			out = append(out, f)
		}
	}
	slices.Sort(out)
	return out
}

// Standalone runs work where no test is running, and ends the process with the code that work returns. A bubble needs a
// *testing.T, and testing.Main is the one way of the standard library to get one outside go test; it ends the process
// by itself, and reads flags, so the program's own arguments are taken away from it.
func Standalone(work func(t *testing.T) (code int)) {
	os.Args = os.Args[:1]
	all := func(_, _ string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{{Name: "simulate", F: func(t *testing.T) { os.Exit(work(t)) }}}, nil, nil)
}
