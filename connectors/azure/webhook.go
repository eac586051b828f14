package azure

import (
	"context"
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/asksfirst"
	"github.com/truestock/truestock/connectors/rest"
)

// VerifyWebhook implements connectors.WebhookReceiver. The token covers who sends, not what: see CompleteWebhook.
func (a *account) VerifyWebhook(r connectors.Request) (connectors.Delivery, error) {
	if err := a.keys.Verify(context.Background(), r.Header.Get("Authorization"), a.expected, r.At); err != nil {
		return connectors.Delivery{}, err
	}
	var o operation
	if err := json.Unmarshal(r.Body, &o); err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrEnvelope, rest.ExplainJSON(err))
	}
	if !guid.MatchString(o.ID) || !guid.MatchString(o.SubscriptionID) {
		return connectors.Delivery{}, fmt.Errorf("%w: id or subscriptionId is not a GUID", connectors.ErrEnvelope)
	}
	if !known[o.Action] {
		return connectors.Delivery{}, fmt.Errorf("%w: the action %.40q is not understood", connectors.ErrEnvelope, o.Action)
	}
	// Nothing more of the body is used: it is not signed.
	return delivery(o.ID, operation{ID: o.ID, SubscriptionID: o.SubscriptionID, Action: o.Action, Status: operationNotStarted})
}

func delivery(key string, o operation) (connectors.Delivery, error) {
	body, err := json.Marshal(o, json.Deterministic(true))
	if err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrEnvelope, err)
	}
	return connectors.Delivery{Key: key, Type: o.Action, Body: body}, nil
}

// CompleteWebhook implements connectors.WebhookCompleter: it fetches an operation that may be refused. One that is over has
// another key, since there is nothing to decide about it any more: Microsoft does not wait, or we have answered before.
func (a *account) CompleteWebhook(ctx context.Context, d connectors.Delivery) (connectors.Delivery, error) {
	const op = "get the operation"
	var sent, found operation
	if err := json.Unmarshal(d.Body, &sent); err != nil {
		return d, connectors.Rejectedf(op, "", "the webhook cannot be read: %w", err)
	}
	if !sent.changes() {
		return d, nil
	}
	if err := a.do(ctx, a.fast, rest.Call{Op: op, Method: http.MethodGet, Path: operationPath(sent)}, &found); err != nil {
		return d, err
	}
	if found.ID != sent.ID || found.SubscriptionID != sent.SubscriptionID || found.Action != sent.Action {
		return d, connectors.Rejectedf(op, "", "Microsoft knows operation %s as %.40q of subscription %.40q; the webhook said %s of %s",
			sent.ID, found.Action, found.SubscriptionID, sent.Action, sent.SubscriptionID)
	}
	key := found.ID
	switch found.Status {
	case operationNotStarted, operationInProgress:
		found.Status = ""
		if _, err := found.order(); err != nil {
			return d, connectors.Rejectedf(op, "", "operation %s: %w", found.ID, err)
		}
	case operationSucceeded, operationFailed, operationConflict:
		key += ":" + found.Status
	default:
		return d, connectors.Rejectedf(op, "", "the status %.40q of operation %s is not understood", found.Status, found.ID)
	}
	return delivery(key, found)
}

// DecodeWebhook implements connectors.WebhookReceiver.
func (a *account) DecodeWebhook(_ connectors.Delivery, body []byte) (connectors.Notice, error) {
	var o operation
	if err := json.Unmarshal(body, &o); err != nil {
		return connectors.Notice{}, fmt.Errorf("the operation cannot be read: %w", rest.ExplainJSON(err))
	}
	switch {
	case !known[o.Action]:
		return connectors.Notice{}, fmt.Errorf("the action %.40q is not understood", o.Action)
	case !o.asks():
		return connectors.Notice{Pull: true}, nil
	}
	order, err := o.order()
	if err != nil {
		return connectors.Notice{}, err
	}
	return connectors.Notice{Asks: true, Facts: []connectors.Fact{{Kind: connectors.OrderUpserted, Order: order}}}, nil
}

// WriteAdmission implements connectors.AdmissionWriter. The reply says the same, so a PATCH that fails is only noted: a yes is
// taken for one after ten seconds, and a no by its status.
func (a *account) WriteAdmission(ctx context.Context, d connectors.Delivery, decided connectors.Admission) error {
	var o operation
	if err := json.Unmarshal(d.Body, &o); err != nil {
		return connectors.Rejectedf("update the operation", "", "the stored question cannot be read: %w", err)
	}
	told := decision{PlanID: o.PlanID, Quantity: o.Quantity, Status: "Success"}
	if decided.Decision != connectors.Admit {
		told.Status = "Failure"
	}
	var status int
	err := a.do(ctx, a.fast, rest.Call{Op: "update the operation", Method: http.MethodPatch, Path: operationPath(o), Body: told, Write: true, Idempotent: true, Status: &status}, nil)
	switch {
	case err == nil:
	case status == http.StatusConflict:
		a.log.Info("the operation is over already", "operation", o.ID, "decision", decided.Decision)
	default:
		a.log.Warn("the operation could not be updated; the reply to the webhook decides it", "operation", o.ID, "decision", decided.Decision, "error", err)
	}
	return ctx.Err()
}

// AnswerAdmission implements connectors.Admitter.
func (a *account) AnswerAdmission(_ connectors.Delivery, decided connectors.Admission) connectors.Reply {
	if decided.Decision == connectors.Admit {
		return a.AnswerWebhook(connectors.ReceivedNew)
	}
	return asksfirst.JSON(http.StatusConflict, map[string]string{"code": "OutOfStock", "message": "There are not enough seats of this plan left to sell."})
}

// AnswerWebhook implements connectors.WebhookAnswerer: Microsoft takes 200 for received, and from 400 to 499 for a refusal.
func (a *account) AnswerWebhook(became connectors.Reception) connectors.Reply {
	switch became {
	case connectors.ReceivedNew, connectors.ReceivedAgain:
		return asksfirst.JSON(http.StatusOK, map[string]string{"status": "received"})
	case connectors.RefusedSignature:
		return asksfirst.JSON(http.StatusUnauthorized, map[string]string{"code": "Unauthorized", "message": "The token is not Microsoft's, or is not valid here."})
	case connectors.RefusedUnavailable:
		return asksfirst.JSON(http.StatusServiceUnavailable, map[string]string{"code": "Unavailable", "message": "Not available now; send it again."})
	default:
		return asksfirst.JSON(http.StatusBadRequest, map[string]string{"code": "BadRequest", "message": "The webhook is not understood."})
	}
}
