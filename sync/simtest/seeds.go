package simtest

// FoundSeed is a seed that once failed. It is run for ever.
type FoundSeed struct {
	Seed uint64
	// Faults are those that the failure needs; nil means those that the seed draws of the groups that there were then.
	Faults []string
	Mode   Mode
	// Says is what was wrong.
	Says string
}

// Options are those with which the seed is run.
func (f FoundSeed) Options() Options {
	if f.Faults == nil {
		return Options{Mode: f.Mode, Faults: Faults()[:firstFaults]}
	}
	return Options{Mode: f.Mode, Faults: f.Faults, Exactly: true}
}

// Found returns the seeds that have found something. A change of what seeds mean leaves them as further seeds.
func Found() []FoundSeed {
	return []FoundSeed{
		{Seed: 19, Says: "damage was taken out of what could not be sold anyway, so that broken units stayed on sale"},
		{Seed: 58, Says: "the same, with what had come back unsellable"},
		{Seed: 84, Says: "a cancellation that came too late was not told again when the order grew afterwards, and too much was sent"},
		{Seed: 132, Says: "a change of an order that was refused for one line kept the cancellation of another from the warehouse"},
		{Seed: 162, Says: "a look within a channel's read lag confirmed the value from before the change that had asked for the look"},
		{Seed: 399, Says: "a shipment of two lines was refused for the one that was cancelled, and the news of the other was lost"},
		{Seed: 162, Faults: []string{FaultAuth, FaultOutage, FaultSwizzle}, Says: "a warehouse without positions counted as heard of by a poll that had nothing to ask, and a raise went out on its word of long ago"},
		{Seed: 248, Says: "the oracle took an export that also names an article that nobody knows for silence about all others"},
		{Seed: 305, Says: "failed with an earlier program; what was wrong is not on record"},
		{Seed: 361, Says: "failed with an earlier program; what was wrong is not on record"},
		{Seed: 447, Says: "failed with an earlier program; what was wrong is not on record"},
		{Seed: 3332, Says: "a raise that did not show yet was raised once more: the number had been sold down to the one that was read, and the condition held"},
		{Seed: 3762, Says: "an export of earlier counted as word of now, and a raise rested on it"},
		{Seed: 5022, Says: "a lower that had been done was refused when it was sent again, and a reconciliation that found it done did not say so to the listing"},
		{Seed: 21028, Faults: []string{FaultServices}, Says: "what the warehouse said of a service's day, which it calls by the service's name, was about nothing: the shop was not told that it was shipped, and its promise never ended"},
		{Seed: 8, Faults: []string{FaultClock, FaultCrash, FaultDelay, FaultDrop, FaultExport, FaultLevels, FaultMapping, FaultOutage, FaultPower, FaultRatio, FaultServices,
			FaultStore, FaultSubscribe, FaultTiny, FaultTwice, FaultWindows}, Says: "the oracle asked a process that had lost the power what it knows, and it knew what the disk did not keep"},
		{Seed: 13249, Faults: []string{FaultAPI, FaultAuth, FaultClock, FaultDrop, FaultDuplicate, FaultExport, FaultHorizon, FaultKeys, FaultLines, FaultManual, FaultMapping, FaultOperator, FaultPolicies, FaultPower, FaultRival, FaultSender, FaultStore, FaultSwizzle, FaultUnknown}, Says: "the same"},
		{Seed: 13397, Faults: []string{FaultAuth, FaultClearance, FaultClock, FaultDelay, FaultDuplicate, FaultExport, FaultLag, FaultLate, FaultLie, FaultMapping, FaultOutage, FaultPolicies, FaultPools, FaultPower, FaultReject, FaultRival, FaultStore, FaultSwizzle, FaultUnknown, FaultVanish}, Says: "the same; and the oracle took a raise that came late for a lower"},
		{Seed: 21077, Faults: []string{FaultAPI, FaultClearance, FaultClock, FaultCrash, FaultDelay, FaultDrop, FaultDuplicate, FaultHorizon, FaultKeys, FaultLag, FaultLate, FaultLevels, FaultOperator, FaultPools, FaultRival, FaultSlow, FaultSwizzle, FaultTiny, FaultUnknown, FaultVanish, FaultWindows}, Says: "nobody in the simulation booked what a stocktake had found, because the process was down when it was to be approved"},
		{Seed: 21099, Faults: []string{FaultAPI, FaultClock, FaultCrash, FaultDelay, FaultDrop, FaultDuplicate, FaultHorizon, FaultKeys, FaultLag, FaultLate, FaultLie, FaultLines, FaultManual, FaultOperator, FaultOutage, FaultPools, FaultReject, FaultRival, FaultSender, FaultServices, FaultSlow}, Says: "the oracle did not take orders that were fetched from the beginning for a catching up"},
		{Seed: 22034, Faults: []string{FaultAPI, FaultClock, FaultCrash, FaultExport, FaultLevels, FaultLie, FaultLines, FaultOutage, FaultPower, FaultRival, FaultServices, FaultStops,
			FaultTiny, FaultWindows}, Says: "a day of a service was closed at the very instant at which the oracle looked"},
		{Seed: 40081, Faults: []string{FaultAuth, FaultDrop, FaultLevels, FaultManual, FaultMapping, FaultOperator, FaultPools, FaultReject, FaultSender, FaultServices, FaultSwizzle, FaultWindows}, Says: "an order of an article with windows that was cancelled before it was applied held up all events for ever"},
		{Seed: 5179, Says: "the oracle counted what the reconciliation before was just healing"},
	}
}
