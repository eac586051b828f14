package googlecloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/asksfirst"
	"github.com/truestock/truestock/connectors/rest"
)

// entitlementID is what may stand in a path.
var entitlementID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,200}$`)

// VerifyWebhook implements connectors.WebhookReceiver. The token says that our own push subscription sends, so the account that
// it signs as is compared too: anybody at Google can have tokens for our address.
func (p *provider) VerifyWebhook(r connectors.Request) (connectors.Delivery, error) {
	var who struct {
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
	}
	if err := p.keys.Verify(context.Background(), r.Header.Get("Authorization"), p.expected, r.At, &who); err != nil {
		return connectors.Delivery{}, err
	}
	if !who.Verified || who.Email != p.pusher {
		return connectors.Delivery{}, fmt.Errorf("%w: the push is signed as %.100q, not as %s", connectors.ErrSignature, who.Email, p.pusher)
	}
	var sent push
	if err := json.Unmarshal(r.Body, &sent); err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrEnvelope, rest.ExplainJSON(err))
	}
	var e event
	if err := json.Unmarshal(sent.Message.Data, &e); err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: message.data: %w", connectors.ErrEnvelope, rest.ExplainJSON(err))
	}
	key := cmp.Or(e.EventID, sent.Message.MessageID)
	switch {
	case key == "" || e.EventType == "":
		return connectors.Delivery{}, fmt.Errorf("%w: the message has no eventId or no eventType", connectors.ErrEnvelope)
	case e.ProviderID != "" && "providers/"+e.ProviderID != p.name:
		return connectors.Delivery{}, fmt.Errorf("%w: the message is for the partner %.60q", connectors.ErrEnvelope, e.ProviderID)
	}
	s := stored{Type: e.EventType}
	if e.Entitlement != nil {
		s.ID, s.At = e.Entitlement.ID, e.Entitlement.UpdateTime
		if !entitlementID.MatchString(s.ID) {
			return connectors.Delivery{}, fmt.Errorf("%w: entitlement.id is %.60q", connectors.ErrEnvelope, s.ID)
		}
	} else if asking(e.EventType) {
		return connectors.Delivery{}, fmt.Errorf("%w: %s names no entitlement", connectors.ErrEnvelope, e.EventType)
	}
	return delivery(key, s)
}

func asking(eventType string) bool { return eventType == eventCreation || eventType == eventPlanChange }

func delivery(key string, s stored) (connectors.Delivery, error) {
	body, err := json.Marshal(s, json.Deterministic(true))
	if err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrEnvelope, err)
	}
	return connectors.Delivery{Key: key, Type: s.Type, Body: body}, nil
}

func (p *provider) entitlement(ctx context.Context, op, id string) (entitlement, error) {
	var e entitlement
	err := p.do(ctx, p.fast, rest.Call{Op: op, Method: http.MethodGet, Path: "/v1/" + p.name + "/entitlements/" + url.PathEscape(id)}, &e)
	if err == nil && e.id() != id {
		err = connectors.Rejectedf(op, "", "Google answered about %.60q in the place of %s", e.Name, id)
	}
	return e, err
}

// CompleteWebhook implements connectors.WebhookCompleter: it fetches the entitlement. What does not wait for a decision has a key
// of its own by its state, since another look may find it in another one.
func (p *provider) CompleteWebhook(ctx context.Context, d connectors.Delivery) (connectors.Delivery, error) {
	const op = "get the entitlement"
	var s stored
	if err := json.Unmarshal(d.Body, &s); err != nil {
		return d, connectors.Rejectedf(op, "", "the message cannot be read: %w", err)
	}
	if s.ID == "" {
		return d, nil
	}
	e, err := p.entitlement(ctx, op, s.ID)
	switch {
	case connectors.KindOf(err) == connectors.Unmapped:
		s.State = gone
	case err != nil:
		return d, err
	case asking(s.Type) && e.waits():
		if s, err = question(s, e); err != nil {
			return d, connectors.Rejectedf(op, "", "entitlement %s: %w", s.ID, err)
		}
		return delivery(d.Key, s)
	default:
		s.State = e.State
	}
	return delivery(d.Key+":"+s.State, s)
}

// question is what a waiting entitlement asks for. A purchase is of the instant at which it was made.
func question(s stored, e entitlement) (stored, error) {
	s.Asks, s.State, s.Item, s.Buyer, s.At = true, e.State, e.item(), e.Account, e.CreateTime
	if e.State == statePlanRequested {
		s.Plan, s.At = e.NewPendingPlan, e.UpdateTime
		if s.Plan == "" {
			return s, errors.New("the new plan is not told")
		}
	}
	_, err := s.order()
	return s, err
}

func (s stored) order() (connectors.Order, error) {
	o := orderOf(s.ID, s.Item, s.Buyer, s.At)
	if s.At.IsZero() {
		return o, errors.New("its instant is not told")
	}
	return o, connectors.Fact{Kind: connectors.OrderUpserted, Order: &o}.Validate()
}

// DecodeWebhook implements connectors.WebhookReceiver.
func (p *provider) DecodeWebhook(_ connectors.Delivery, body []byte) (connectors.Notice, error) {
	var s stored
	if err := json.Unmarshal(body, &s); err != nil {
		return connectors.Notice{}, fmt.Errorf("the message cannot be read: %w", rest.ExplainJSON(err))
	}
	switch {
	case s.Type == "":
		return connectors.Notice{}, errors.New("the message has no type")
	case s.Asks:
		o, err := s.order()
		if err != nil {
			return connectors.Notice{}, err
		}
		return connectors.Notice{Asks: true, Facts: []connectors.Fact{{Kind: connectors.OrderUpserted, Order: &o}}}, nil
	case s.State == gone && s.ID != "" && !s.At.IsZero():
		o := &connectors.Order{OrderID: s.ID, Version: s.At.UnixMilli()}
		if o.Version < 0 {
			return connectors.Notice{}, errors.New("the message is of before 1970")
		}
		return connectors.Notice{Pull: true, Facts: []connectors.Fact{{Kind: connectors.OrderCancelled, Order: o}}}, nil
	default:
		return connectors.Notice{Pull: true}, nil
	}
}

// refusal is what the buyer reads; Google takes up to 256 bytes.
const refusal = "There are not enough licences of this plan left to sell. You have not been charged; please choose another plan or try again later."

// WriteAdmission implements connectors.AdmissionWriter. A decision that Google does not take any more, because the entitlement
// does not wait, is settled there otherwise: by us before, or by the buyer.
func (p *provider) WriteAdmission(ctx context.Context, d connectors.Delivery, decided connectors.Admission) error {
	op := "approve the entitlement"
	var s stored
	if err := json.Unmarshal(d.Body, &s); err != nil {
		return connectors.Rejectedf(op, "", "the stored question cannot be read: %w", err)
	}
	verb, body := ":approve", any(approval{})
	switch admitted := decided.Decision == connectors.Admit; {
	case !admitted && s.Plan == "":
		op, verb, body = "reject the entitlement", ":reject", rejection{Reason: refusal}
	case !admitted:
		op, verb, body = "reject the change of plan", ":rejectPlanChange", planRejection{PendingPlanName: s.Plan, Reason: refusal}
	case s.Plan != "":
		op, verb, body = "approve the change of plan", ":approvePlanChange", planApproval{PendingPlanName: s.Plan}
	case p.approveAccounts:
		if err := p.approveAccount(ctx, s.Buyer); err != nil {
			return err
		}
	}
	err := p.do(ctx, p.fast, rest.Call{Op: op, Method: http.MethodPost, Path: "/v1/" + p.name + "/entitlements/" + url.PathEscape(s.ID) + verb, Body: body, Write: true, Idempotent: true}, nil)
	if kind := connectors.KindOf(err); kind != connectors.Rejected && kind != connectors.Unmapped {
		return err
	}
	e, look := p.entitlement(ctx, op, s.ID)
	if look != nil && connectors.KindOf(look) != connectors.Unmapped {
		return err
	}
	if look == nil && e.waits() && e.State == s.State && e.NewPendingPlan == s.Plan {
		told, _ := errors.AsType[*connectors.Error](err)
		waiting := *told
		waiting.Err = fmt.Errorf("%w; it still waits: the buyer may not have signed up yet, on the product's sign-up page or by %s", told.Err, settingAccounts)
		return &waiting
	}
	p.log.Info("the entitlement does not wait any more", "entitlement", s.ID, "decision", decided.Decision, "state", cmp.Or(e.State, gone))
	return nil
}

// signUp is the approval that a new account waits for.
const signUp = "signup"

func (p *provider) approveAccount(ctx context.Context, name string) error {
	const op = "approve the buyer's account"
	path := "/v1/" + p.name + "/accounts/" + url.PathEscape(name[strings.LastIndexByte(name, '/')+1:])
	var a account
	if err := p.do(ctx, p.fast, rest.Call{Op: op, Method: http.MethodGet, Path: path}, &a); err != nil {
		return err
	}
	for _, approval := range a.Approvals {
		if approval.Name == signUp && approval.State == "PENDING" {
			return p.do(ctx, p.fast, rest.Call{Op: op, Method: http.MethodPost, Path: path + ":approve", Body: accountApproval{ApprovalName: signUp}, Write: true, Idempotent: true}, nil)
		}
	}
	return nil
}

// AnswerAdmission implements connectors.Admitter. Pub/Sub reads the status only.
func (p *provider) AnswerAdmission(_ connectors.Delivery, decided connectors.Admission) connectors.Reply {
	return asksfirst.JSON(http.StatusOK, map[string]string{"decision": string(decided.Decision)})
}

// AnswerWebhook implements connectors.WebhookAnswerer: what is answered otherwise than by 2xx comes again.
//
// https://cloud.google.com/pubsub/docs/push#receive_push
func (p *provider) AnswerWebhook(became connectors.Reception) connectors.Reply {
	status := http.StatusBadRequest
	switch became {
	case connectors.ReceivedNew, connectors.ReceivedAgain:
		return asksfirst.JSON(http.StatusOK, map[string]string{"status": "received"})
	case connectors.RefusedSignature:
		status = http.StatusUnauthorized
	case connectors.ReceivedConflict:
		status = http.StatusConflict
	case connectors.RefusedUnavailable:
		status = http.StatusServiceUnavailable
	}
	return asksfirst.JSON(status, map[string]string{"status": string(became)})
}
