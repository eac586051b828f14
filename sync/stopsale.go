package sync

import (
	"context"
	"time"

	"github.com/truestock/truestock/connectors"
)

// switchSales stops and resumes listings at a channel that can do that. What a stopped listing shows is written all the
// same: it is 0 before the sale is resumed, and the raise that follows goes the way of every raise.
func (p *push) switchSales(ctx context.Context, due []Listing) error {
	stopper, can := p.channel.Marketplace.(connectors.SaleStopper)
	if !can || !p.caps.StopSale {
		return nil
	}
	p.sales, p.saleRetry = make(map[ListingKey]bool), make(map[ListingKey]time.Time)
	for _, stops := range []bool{true, false} {
		var listings []Listing
		var refs []connectors.Ref
		for _, l := range due {
			if l.StopWanted == stops && l.Stopped != stops {
				listings, refs = append(listings, l), append(refs, l.Ref)
			}
		}
		if len(refs) == 0 {
			continue
		}
		call := stopper.ResumeSale
		if stops {
			call = stopper.StopSale
		}
		results, err := call(ctx, refs)
		if connectors.KindOf(err) == "" && err != nil {
			return err // cancelled: a shutdown
		}
		for i, l := range listings {
			failure := err
			if failure == nil {
				failure = results[i].Err
			}
			switch kind := connectors.KindOf(failure); {
			case failure == nil:
				p.sales[l.ListingKey] = stops
			case kind == connectors.Rejected, kind == connectors.Unmapped:
				p.engine.log.Warn("the channel does not stop or resume a listing", "listing", listingText(l.ListingKey), "stop", stops, "error", failure)
			default:
				p.saleRetry[l.ListingKey] = p.now.Add(p.engine.backoff(l.Attempts + 1))
			}
		}
	}
	return nil
}
