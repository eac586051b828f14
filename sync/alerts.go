package sync

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/truestock/truestock/stock"
)

// A number is watched where it is planned: in that transaction it is decided whether it has crossed a threshold, whether
// it is to be ordered anew, and whether a service must grow, and what people are told of it is stored.

// AlertSetting says below which number somebody is told, by a PolicyKey; its value is an AlertPolicy.
const AlertSetting SettingKind = "alert"

// The types of messages about numbers.
const (
	MessageLow           = "stock.low"
	MessageLowEscalation = "stock.low.escalation"
)

// AlertPolicy is what somebody decided about being told of low numbers. Each field is decided by the most particular setting that
// has it; a threshold holds for what its key names: a SKU, a listing, or with the key all every SKU.
type AlertPolicy struct {
	// Threshold is the number below which it is low.
	Threshold *stock.Quantity `json:"threshold,omitempty"`
	// Rearm is how far above the threshold the number must rise before another fall is told.
	Rearm *stock.Quantity `json:"rearm,omitempty"`
	// Escalation lists after what times, such as 30m, a further notice follows while nobody acknowledges.
	Escalation []string `json:"escalation,omitempty"`
	// QuietFrom and QuietTo are a time of the day, by the clock of QuietZone, in which nothing is told.
	QuietZone *stock.Zone  `json:"quiet_zone,omitempty"`
	QuietFrom *stock.Clock `json:"quiet_from,omitempty"`
	QuietTo   *stock.Clock `json:"quiet_to,omitempty"`
}

// rule is the policy as package stock reads it.
func (a AlertPolicy) rule() (stock.AlertRule, error) {
	r := stock.AlertRule{Threshold: value(a.Threshold), Rearm: value(a.Rearm)}
	for i, text := range a.Escalation {
		d, err := time.ParseDuration(text)
		if err != nil {
			return r, &stock.FieldError{Field: fmt.Sprintf("escalation[%d]", i), Reason: fmt.Sprintf("is %q: write a time such as 30m or 2h", text)}
		}
		r.Escalation = append(r.Escalation, d)
	}
	if a.QuietFrom != nil || a.QuietTo != nil || a.QuietZone != nil {
		if a.QuietFrom == nil || a.QuietTo == nil || a.QuietZone == nil {
			return r, &stock.FieldError{Field: "quiet_from", Reason: "and quiet_to and quiet_zone are one setting: give all three or none"}
		}
		r.Quiet = &stock.Quiet{Zone: *a.QuietZone, From: *a.QuietFrom, To: *a.QuietTo}
	}
	return r, r.Validate()
}

// over puts the fields of a over those of weaker.
func (a AlertPolicy) over(weaker AlertPolicy) AlertPolicy {
	a.Threshold = cmp.Or(a.Threshold, weaker.Threshold)
	a.Rearm = cmp.Or(a.Rearm, weaker.Rearm)
	if a.Escalation == nil {
		a.Escalation = weaker.Escalation
	}
	if a.QuietZone == nil {
		a.QuietZone, a.QuietFrom, a.QuietTo = weaker.QuietZone, weaker.QuietFrom, weaker.QuietTo
	}
	return a
}

func parseAlertPolicy(known isChannel, key string, raw json.RawMessage) (any, error) {
	k, err := ParsePolicyKey(key)
	if err != nil {
		return nil, err
	}
	if k.Channel != "" && !known(k.Channel) {
		return nil, &stock.FieldError{Field: "key", Reason: fmt.Sprintf("names the channel %q, which is not configured", k.Channel)}
	}
	a, err := readSetting[AlertPolicy](raw)
	if err != nil {
		return nil, err
	}
	_, err = a.rule()
	return a, err
}

// alertPolicy is what is in force for a SKU, or for a listing where key is not nil. Without a threshold nobody is told.
func (d *decisions) alertPolicy(sku stock.SKU, key *ListingKey, at time.Time) AlertPolicy {
	of := func(k PolicyKey) AlertPolicy {
		a, _ := d.inForce(AlertSetting, k.String(), at).(AlertPolicy)
		return a
	}
	all := of(PolicyKey{})
	if key == nil {
		a := of(PolicyKey{SKU: sku})
		a.Threshold = cmp.Or(a.Threshold, d.article(sku, at).AlertThreshold)
		return a.over(all)
	}
	all.Threshold = nil // that is of SKUs
	return of(PolicyKey{Channel: key.Connection, Ref: key.Ref}).over(of(PolicyKey{Channel: key.Connection})).over(all)
}

// AlertState is one crossing of a threshold: from the fall on until the number has recovered.
type AlertState struct {
	ID int64
	// Subject is sku:SKU or listing:CHANNEL:ITEM, as in settings.
	Subject          string
	LowAt            time.Time
	Level, Threshold stock.Quantity
	// Sent is how many steps were told, the first at SentAt.
	Sent   int
	SentAt time.Time
	// ClosedAt is when the number had recovered, zero until then.
	ClosedAt       time.Time
	AcknowledgedAt time.Time
	AcknowledgedBy string
}

func (a *AlertState) alert() stock.Alert {
	if a == nil {
		return stock.Alert{}
	}
	return stock.Alert{Low: true, LowAt: a.LowAt, Sent: a.Sent, SentAt: a.SentAt, Acknowledged: !a.AcknowledgedAt.IsZero()}
}

// Watched is the part of a transaction that watches numbers.
type Watched interface {
	// OpenAlerts loads the crossings of the subjects that are not over.
	OpenAlerts(subjects []string) (map[string]*AlertState, error)
	// SaveAlerts stores crossings: new ones, whose ID is 0, get theirs; of others everything but the acknowledgement is
	// replaced.
	SaveAlerts(alerts []*AlertState) error
	// OpenReplenishments loads the urgent replenishments of the SKUs that are not cleared.
	OpenReplenishments(skus []stock.SKU) (map[stock.SKU]*ReplenishmentState, error)
	SaveReplenishments(states []*ReplenishmentState) error
	// Measures loads the newest measure of each SKU that was made until an instant.
	Measures(skus []stock.SKU, at time.Time) (map[stock.SKU]*Measure, error)
	// AddMessages stores messages whose key is new.
	AddMessages(messages []Message) error
}

// Alerts keeps crossings and replenishments for people.
type Alerts interface {
	// ListAlerts lists crossings by id, those that are not over or all.
	ListAlerts(ctx context.Context, open bool, after int64, limit int) ([]AlertState, error)
	// AckAlert notes who has seen a crossing that is not over. ErrNotFound when there is none; who came first stays.
	AckAlert(ctx context.Context, id int64, by string, at time.Time, acts ...AuditEntry) (AlertState, error)
	// ListReplenishments lists urgent replenishments by id, those that are not cleared or all.
	ListReplenishments(ctx context.Context, open bool, after int64, limit int) ([]ReplenishmentState, error)
	// SaveMeasures stores measures, and marks their SKUs to be planned.
	SaveMeasures(ctx context.Context, measures []Measure) error
	MeasuresAt(ctx context.Context, skus []stock.SKU, at time.Time) (map[stock.SKU]*Measure, error)
	// ShownWithin is in what time so many permille of the changes of a channel's targets since an instant were shown there, of
	// those that are; n is how many that were.
	ShownWithin(ctx context.Context, channel stock.ConnectionID, since time.Time, permille int64) (lag time.Duration, n int64, err error)
}

// watch is what watching numbers has found in one transaction.
type watch struct {
	*planInput
	now      time.Time
	messages []Message
	later    map[stock.SKU]time.Time
}

// watchNumbers looks at the numbers that were planned, and stores what became of alerts and replenishments. It returns whether
// somebody is to be told, and when to look again.
func (p *planInput) watchNumbers(tx PlanTx, skus []stock.SKU) (told bool, later map[stock.SKU]time.Time, err error) {
	w := &watch{planInput: p, now: p.at, later: make(map[stock.SKU]time.Time)}
	s := p.settings
	if s.any(AlertSetting) || s.any(ArticleSetting) || s.any(ReplenishmentSetting) {
		levels, known, err := p.totals(tx, skus)
		if err != nil {
			return false, nil, err
		}
		if err := w.watchAlerts(tx, skus, levels, known); err != nil {
			return false, nil, err
		}
		if err := w.watchReplenishments(tx, skus, levels, known); err != nil {
			return false, nil, err
		}
	}
	for _, sku := range sortedKeys(p.demand, cmp.Compare[stock.SKU]) {
		if near := p.demand[sku].near; near != nil {
			w.messages = append(w.messages, near.message(sku, p.at))
		}
	}
	if len(w.messages) > 0 {
		err = tx.AddMessages(w.messages)
	}
	return len(w.messages) > 0, w.later, err
}

// total is what there is of a SKU over all locations: available, and there and promised to nobody.
type total struct{ available, unpromised, incoming stock.Quantity }

// totals sums the SKUs' levels; known are those of which somebody has said how many there are.
func (p *planInput) totals(tx PlanTx, skus []stock.SKU) (map[stock.SKU]total, map[stock.SKU]bool, error) {
	levels, err := tx.Levels(skus)
	if err != nil {
		return nil, nil, err
	}
	sums, known := make(map[stock.SKU]total), make(map[stock.SKU]bool)
	for key, l := range levels {
		t := sums[key.SKU]
		t.available += l.Available
		t.unpromised += l.Available + l.Reserved
		t.incoming += l.Incoming
		sums[key.SKU] = t
	}
	statements, err := tx.Statements(skus)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range statements {
		known[s.SKU] = true
	}
	for sku, d := range p.demand {
		sums[sku], known[sku] = total{available: d.left, unpromised: d.left}, true
	}
	return sums, known, nil
}

// watched is one number with the rule for it.
type watched struct {
	subject string
	sku     stock.SKU // to be planned when there is something to look at again
	level   stock.Quantity
	known   bool
	policy  AlertPolicy
}

func (w *watch) watchAlerts(tx PlanTx, skus []stock.SKU, levels map[stock.SKU]total, known map[stock.SKU]bool) error {
	var all []watched
	for _, sku := range skus {
		all = append(all, watched{PolicyKey{SKU: sku}.String(), sku, levels[sku].available, known[sku], w.settings.alertPolicy(sku, nil, w.now)})
	}
	if w.settings.any(AlertSetting) {
		for _, key := range w.keys {
			if len(w.components[key]) == 0 || w.engine.channels[key.Connection] == nil {
				continue
			}
			of := watched{subject: PolicyKey{Channel: key.Connection, Ref: key.Ref}.String(), sku: w.components[key][0].SKU, policy: w.settings.alertPolicy("", &key, w.now)}
			if of.policy.Threshold != nil {
				t := w.target(key)
				of.level, of.known = value(t.quantity), t.quantity != nil
			}
			all = append(all, of)
		}
	}
	subjects := make([]string, len(all))
	for i, n := range all {
		subjects[i] = n.subject
	}
	open, err := tx.OpenAlerts(subjects)
	if err != nil {
		return err
	}
	var changed []*AlertState
	notices := make(map[*AlertState]*stock.Notice)
	for _, n := range all {
		before := open[n.subject]
		if n.policy.Threshold == nil {
			if before != nil { // nobody wants to be told any more
				before.ClosedAt = w.now
				changed = append(changed, before)
			}
			continue
		}
		if !n.known {
			continue
		}
		rule, err := n.policy.rule()
		if err != nil {
			continue // of another version; what was stored was in order
		}
		after, notice := rule.Observe(before.alert(), n.level, w.now)
		switch {
		case after.Low && before == nil:
			before = &AlertState{Subject: n.subject, LowAt: after.LowAt}
			fallthrough
		case after.Low && (before.Level != n.level || before.Threshold != rule.Threshold || before.Sent != after.Sent):
			before.Level, before.Threshold, before.Sent, before.SentAt = n.level, rule.Threshold, after.Sent, after.SentAt
			changed = append(changed, before)
			notices[before] = notice
		case !after.Low && before != nil:
			before.ClosedAt, before.Level = w.now, n.level
			changed = append(changed, before)
		}
		if at, due := rule.NextAt(after); due {
			w.look(n.sku, at)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if err := tx.SaveAlerts(changed); err != nil {
		return err
	}
	for _, a := range changed {
		if n := notices[a]; n != nil {
			w.messages = append(w.messages, a.message(*n, w.now))
		}
	}
	return nil
}

// look asks for a SKU to be planned at an instant.
func (w *watch) look(sku stock.SKU, at time.Time) {
	if had, ok := w.later[sku]; !ok || at.Before(had) {
		w.later[sku] = at
	}
}

// alertData is what machines are told of a low number.
type alertData struct {
	Alert     string         `json:"alert"`
	Subject   string         `json:"subject"`
	SKU       stock.SKU      `json:"sku,omitempty"`
	Level     stock.Quantity `json:"level"`
	Threshold stock.Quantity `json:"threshold"`
	LowAt     time.Time      `json:"low_at"`
	Step      int            `json:"step"`
}

func (a *AlertState) message(n stock.Notice, now time.Time) Message {
	kind, title := MessageLow, "Low: "
	if n.Step > 0 {
		kind, title = MessageLowEscalation, "Still low, and nobody has acknowledged: "
	}
	id := eventReference(a.ID)
	k, _ := ParsePolicyKey(a.Subject) // we have written it
	name := string(k.SKU)
	if k.SKU == "" {
		name = a.Subject
	}
	return newMessage(names("alert", id, strconv.Itoa(n.Step)), kind, name, fmt.Sprintf("%s%s has %d, fewer than %d", title, name, a.Level, a.Threshold),
		fmt.Sprintf("%s is below its threshold of %d since %s: %d are left. Acknowledge with: truestock alerts ack %s", name, a.Threshold, a.LowAt.UTC().Format(time.RFC3339), a.Level, id), now,
		alertData{id, a.Subject, k.SKU, a.Level, a.Threshold, a.LowAt.UTC(), n.Step})
}

// --- services that must grow --------------------------------------------------------------------------------------------

// MessageCapacityNear asks a service to grow before its cap bites.
const MessageCapacityNear = "capacity.near"

// nearCap is that a window's cap, or a rate, is near.
type nearCap struct {
	Window stock.Window
	Used   stock.Quantity
	Cap    stock.Quantity
	Left   stock.Quantity
}

// message is stored once per window, because its key names the window.
func (n *nearCap) message(sku stock.SKU, now time.Time) Message {
	return newMessage(names("capacity", string(sku), strconv.FormatInt(n.Window.Start.UnixNano(), 10)), MessageCapacityNear, string(sku),
		fmt.Sprintf("Capacity near: %s has sold %d of %d", sku, n.Used, n.Cap),
		fmt.Sprintf("%d of %d of %s are sold in the window from %s to %s, and %d can be sold now. Let the service grow, or raise its cap.", n.Used, n.Cap, sku,
			n.Window.Start.UTC().Format(time.RFC3339), n.Window.End.UTC().Format(time.RFC3339), n.Left), now, struct {
			SKU   stock.SKU      `json:"sku"`
			Start time.Time      `json:"window_start"`
			End   time.Time      `json:"window_end"`
			Used  stock.Quantity `json:"used"`
			Cap   stock.Quantity `json:"effective_cap"`
			Left  stock.Quantity `json:"left"`
		}{sku, n.Window.Start.UTC(), n.Window.End.UTC(), n.Used, n.Cap, n.Left})
}

// --- what people ask ----------------------------------------------------------------------------------------------------

// AlertView is a crossing of a threshold as people and tools see it.
type AlertView struct {
	ID             string         `json:"id"`
	Subject        string         `json:"subject" doc:"sku:SKU or listing:CHANNEL:ITEM, as in settings"`
	Level          stock.Quantity `json:"level" doc:"the number when it was last looked at"`
	Threshold      stock.Quantity `json:"threshold"`
	LowAt          time.Time      `json:"low_at"`
	ToldAt         *time.Time     `json:"told_at" doc:"when the first notice was stored; null while quiet hours hold it"`
	Notices        int            `json:"notices" doc:"the first notice and its escalations"`
	RecoveredAt    *time.Time     `json:"recovered_at"`
	AcknowledgedAt *time.Time     `json:"acknowledged_at"`
	AcknowledgedBy string         `json:"acknowledged_by,omitempty"`
}

func alertView(a AlertState) AlertView {
	return AlertView{ID: eventReference(a.ID), Subject: a.Subject, Level: a.Level, Threshold: a.Threshold, LowAt: a.LowAt.UTC(), ToldAt: optionalTime(a.SentAt), Notices: a.Sent,
		RecoveredAt: optionalTime(a.ClosedAt), AcknowledgedAt: optionalTime(a.AcknowledgedAt), AcknowledgedBy: a.AcknowledgedBy}
}

// Alerts lists crossings of thresholds by id, those that are not over or all.
func (e *Engine) Alerts(ctx context.Context, open bool, after int64, limit int) ([]AlertView, error) {
	rows, err := e.store.ListAlerts(ctx, open, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list alerts: %w", err)
	}
	views := make([]AlertView, len(rows))
	for i, a := range rows {
		views[i] = alertView(a)
	}
	return views, nil
}

// AckAlert says that somebody has seen a crossing: nothing more is told of it. ErrNotFound when there is none that is not over.
func (e *Engine) AckAlert(ctx context.Context, by Actor, id int64) (AlertView, error) {
	now := time.Now().UTC()
	entry := act(now, by.Name, "alert acknowledged", "alert "+eventReference(id), nil, nil)
	entry.Reason = by.Reason
	a, err := e.store.AckAlert(ctx, id, by.Name, now, entry)
	if err != nil {
		return AlertView{}, fmt.Errorf("acknowledge alert %d: %w", id, err)
	}
	return alertView(a), nil
}
