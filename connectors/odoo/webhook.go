package odoo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/connectors/signature"
)

// Odoo's webhooks ("Send Webhook Notification" of an automation rule, 17 and later) are hints and no more. They are not
// signed, wait one second for the answer, and are never sent again. Releases before 19 send them inside the transaction:
// what they tell may not be visible yet, or may be rolled back. So nothing in them is believed but that it is worth looking.

// How long after a hint it is that levels are read: until the transaction that it came from has committed, as far as one
// can wait for that. What a longer one changes shows at the next hint, or at the next reading of all levels.
const (
	settleBeforeCommit = 2 * time.Second
	settleAfterCommit  = 500 * time.Millisecond
)

// hinting are the models of which a change may change what is told of stock and orders.
var hinting = map[string]bool{
	"stock.quant": true, "stock.move": true, "stock.move.line": true, "stock.picking": true,
	"sale.order": true, "sale.order.line": true, "product.product": true, "product.template": true,
}

// VerifyWebhook implements connectors.WebhookReceiver. The word behind ?key= stands in for a signature. A delivery is
// known by its record and the record's write_date where the rule sends that field; otherwise every delivery is a new one,
// since Odoo never sends one again.
func (r *record) VerifyWebhook(req connectors.Request) (connectors.Delivery, error) {
	ordinal, err := r.hooks.Match(req.Query().Get("key"), signature.Plain)
	if err != nil {
		return connectors.Delivery{}, err
	}
	h, err := readHook(req.Body)
	if err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrEnvelope, err)
	}
	state := strconv.FormatInt(req.At.UnixNano(), 36)
	if h.WriteDate != "" {
		sum := sha256.Sum256(req.Body)
		state = hex.EncodeToString(sum[:8])
	}
	r.mu.Lock()
	r.hintedAt = time.Now()
	r.mu.Unlock()
	return connectors.Delivery{Key: fmt.Sprintf("%s:%d:%s", h.Model, h.ID, state), Type: h.Model, Secret: ordinal}, nil
}

// DecodeWebhook implements connectors.WebhookReceiver.
func (r *record) DecodeWebhook(_ connectors.Delivery, body []byte) (connectors.Notice, error) {
	h, err := readHook(body)
	if err != nil {
		return connectors.Notice{}, err
	}
	if !hinting[h.Model] {
		return connectors.Notice{}, fmt.Errorf("a change of %s says nothing about stock: remove the automation rule %.60q in Odoo", h.Model, h.Action)
	}
	return connectors.Notice{Pull: true}, nil
}

const maxModel = 128

func readHook(body []byte) (hook, error) {
	var h hook
	if err := json.Unmarshal(body, &h); err != nil {
		return hook{}, fmt.Errorf("the hint cannot be read: %w", rest.ExplainJSON(err))
	}
	if h.Model == "" || len(h.Model) > maxModel || h.ID <= 0 {
		return hook{}, fmt.Errorf("the hint names no record: _model and _id are missing; let Odoo send it by the action Send Webhook Notification")
	}
	return h, nil
}

// settle waits until what the last hint was about can be read.
func (r *record) settle(ctx context.Context, d *dialect) error {
	wait := settleBeforeCommit
	if d.major >= firstWithJSON2 {
		wait = settleAfterCommit
	}
	r.mu.Lock()
	wait = time.Until(r.hintedAt.Add(wait))
	r.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
