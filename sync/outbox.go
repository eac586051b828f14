package sync

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// A message is stored in the transaction of what causes it, so that nothing happens untold and nothing is told that did
// not happen. The controller of this file spreads it over the channels that take it, and brings it there: at least once,
// under an id that every try has, until the channel has it or it is given up.

// Notifier brings messages to people and machines. It is safe for concurrent use.
type Notifier interface {
	// Targets tells the kind of each address that the configuration has, by its name.
	Targets() map[string]string
	// Send makes one try. Of the errors of connectors, Rejected, Auth and Unmapped mean that the same message would be
	// refused again. It holds nothing secret.
	Send(ctx context.Context, target string, m connectors.Message) error
}

// The types of messages.
const (
	MessageIncidentOpened = "incident.opened"
	MessageIncidentClosed = "incident.closed"
	MessagePlanHeld       = "plan.held"
	MessageTest           = "test"
	// MessageDigest holds several messages of a channel that takes them together.
	MessageDigest = "digest"
)

// messageTypes are those that a channel may take, apart from tests and digests.
var messageTypes = []string{MessageIncidentOpened, MessageIncidentClosed, MessagePlanHeld, MessageLow, MessageLowEscalation, MessageReplenish, MessageReplenished, MessageCapacityNear}

// Message is something that people are told.
type Message struct {
	ID int64
	// Key names the cause: a second message with the same key is left out.
	Key           string
	Type, Subject string
	Title, Text   string
	// Data is a JSON object for machines.
	Data json.RawMessage
	At   time.Time
}

// DeliveryState is how far a message has come at one channel.
type DeliveryState string

// The states of a delivery.
const (
	DeliveryDue     DeliveryState = "due"
	DeliverySent    DeliveryState = "sent"
	DeliveryGivenUp DeliveryState = "given_up"
	// DeliveryNeedless: what it was about was over before it went out.
	DeliveryNeedless DeliveryState = "needless"
)

// Delivery is a message on its way to a channel.
type Delivery struct {
	Message
	Channel string
	State   DeliveryState
	// Batch is the end of the window whose messages the channel takes together; zero where it goes alone.
	Batch    time.Time
	Attempts int
	DueAt    time.Time
	SentAt   time.Time
	Error    string
}

// Outbox keeps messages.
type Outbox interface {
	// SpreadMessages hands fn the oldest messages that are not spread yet, at most limit of them, and stores the deliveries
	// that it returns with the mark that they are. It returns how many there were; with none fn is not called.
	SpreadMessages(ctx context.Context, limit int, fn func(tx Settled, messages []Message) ([]Delivery, error)) (int, error)
	// ClaimDeliveries takes of each channel what is longest due at now, with the rest of its batch, at most limit of it, and
	// makes it due again at the instant until, when whoever took it is taken for dead. next is when the earliest of the others
	// is due, zero when none is.
	ClaimDeliveries(ctx context.Context, now, until time.Time, limit int) (claimed [][]Delivery, next time.Time, err error)
	// SaveDeliveries stores what became of deliveries, and the incidents, in one transaction.
	SaveDeliveries(ctx context.Context, deliveries []Delivery, opened, closed []Incident, at time.Time) error
	// ListDeliveries lists deliveries, the newest message first and then by channel.
	ListDeliveries(ctx context.Context, q NoticeQuery) ([]Delivery, error)
	// RetryDeliveries makes those of a channel that were given up due at the instant at, and returns how many there were.
	RetryDeliveries(ctx context.Context, channel string, at time.Time, acts ...AuditEntry) (int, error)
	// DropMessages forgets messages from before an instant of which nothing is due.
	DropMessages(ctx context.Context, before time.Time) error
	// IncidentByID loads an incident. ErrNotFound when there is none.
	IncidentByID(ctx context.Context, id int64) (Incident, error)
}

const (
	// outboxBatch is how many messages are spread, or told together, at a time.
	outboxBatch = 200
	// sendTime is the longest that one message is waited for, claimTime how long who took it keeps it.
	sendTime, claimTime = 20 * time.Second, 30 * time.Second
	// noticeLife is for how long a message is tried.
	noticeLife = 72 * time.Hour
)

// newMessage makes a message for machines and people.
func newMessage(key, kind, subject, title, text string, at time.Time, data any) Message {
	raw, err := json.Marshal(data)
	if err != nil {
		panic(fmt.Sprintf("write a message of %T: %v", data, err)) // plain structs of this package: only a bug leads here
	}
	return Message{Key: key, Type: kind, Subject: subject, Title: title, Text: text, Data: raw, At: at}
}

// incidentData is what machines are told of an incident.
type incidentData struct {
	Incident string     `json:"incident"`
	Kind     string     `json:"kind"`
	Subject  string     `json:"subject"`
	Message  string     `json:"message"`
	OpenedAt time.Time  `json:"opened_at"`
	ClosedAt *time.Time `json:"closed_at"`
}

// IncidentMessage is what people are told of an incident that was opened, or closed where ClosedAt says so.
func IncidentMessage(i Incident) Message {
	kind, at, title, word := MessageIncidentOpened, i.OpenedAt, "Incident: ", "opened"
	if !i.ClosedAt.IsZero() {
		kind, at, title, word = MessageIncidentClosed, i.ClosedAt, "Over: ", "closed"
	}
	id := eventReference(i.ID)
	m := newMessage("incident:"+id+":"+word, kind, i.Subject, title+strings.ReplaceAll(i.Kind, "_", " ")+" of "+i.Subject, i.Message, at,
		incidentData{id, i.Kind, i.Subject, i.Message, i.OpenedAt.UTC(), optionalTime(i.ClosedAt)})
	if kind == MessageIncidentClosed {
		m.Text = "This is over since " + i.ClosedAt.UTC().Format(time.RFC3339) + ": " + i.Message
	}
	return m
}

// PlanMessage is what people are told of a plan that is held.
func PlanMessage(p Plan) Message {
	id := eventReference(p.ID)
	changes := len(p.Changes) + len(p.Facts)
	return newMessage("plan:"+id, MessagePlanHeld, string(p.Connection), fmt.Sprintf("Held: %d changes of %s", changes, p.Connection),
		fmt.Sprintf("%s Nothing of it goes out until somebody decides: truestock plans show %s, then approve or reject.", p.Reason, id), p.CreatedAt, struct {
			Plan       string             `json:"plan"`
			Connection stock.ConnectionID `json:"connection"`
			Reason     string             `json:"reason"`
			Changes    int                `json:"changes"`
		}{id, p.Connection, p.Reason, changes})
}

func (e *Engine) outboxLoop(ctx context.Context) (time.Duration, error) {
	n, next, err := e.outboxPass(ctx)
	if err != nil || n > 0 {
		return 0, err
	}
	if wait := time.Until(next); !next.IsZero() && wait < e.timings.Look {
		return max(wait, time.Millisecond), nil
	}
	return e.timings.Look, nil
}

// outboxPass spreads new messages and makes one try of what is due. It returns how many messages it handled, and when the
// next is due.
func (e *Engine) outboxPass(ctx context.Context) (int, time.Time, error) {
	spread, err := e.spreadMessages(ctx)
	if err != nil {
		return 0, time.Time{}, err
	}
	if e.notifier == nil {
		return spread, time.Time{}, e.forgetMessages(ctx)
	}
	now := time.Now().UTC()
	claimed, next, err := e.store.ClaimDeliveries(ctx, now, now.Add(claimTime), outboxBatch)
	if err != nil {
		return spread, next, fmt.Errorf("look for notices that are due: %w", err)
	}
	if len(claimed) == 0 {
		return spread, next, e.forgetMessages(ctx)
	}
	settings, err := e.settingsNow(ctx)
	if err != nil {
		return spread, next, err
	}
	// A channel that does not answer must not keep the others waiting.
	var group sync.WaitGroup
	failed := make([]error, len(claimed))
	for i, together := range claimed {
		group.Go(func() { failed[i] = e.deliver(ctx, settings, together) })
	}
	group.Wait()
	return spread + len(claimed), next, errors.Join(failed...)
}

// spreadMessages decides which channels take new messages. Only those that there are when a message comes get it.
func (e *Engine) spreadMessages(ctx context.Context) (int, error) {
	n, err := e.store.SpreadMessages(ctx, outboxBatch, func(tx Settled, messages []Message) ([]Delivery, error) {
		settings, err := e.decisions(tx)
		if err != nil {
			return nil, err
		}
		now := time.Now().UTC()
		var out []Delivery
		for _, name := range settings.keys(NoticeChannelSetting) {
			c, ok := settings.inForce(NoticeChannelSetting, name, now).(NoticeChannel)
			if !ok {
				continue
			}
			for _, m := range messages {
				if !c.takes(m) || m.Subject == name && ownTrouble(m) {
					continue
				}
				d := Delivery{Message: m, Channel: name, State: DeliveryDue, DueAt: now}
				if end := c.batchEnd(now); !end.IsZero() {
					d.Batch, d.DueAt = end, end
				}
				out = append(out, d)
			}
		}
		return out, nil
	})
	if err != nil {
		return 0, fmt.Errorf("spread notices: %w", err)
	}
	return n, nil
}

// ownTrouble reports whether a message says of a channel of notices that nothing arrives there.
func ownTrouble(m Message) bool {
	var d incidentData
	return json.Unmarshal(m.Data, &d) == nil && d.Kind == IncidentNoticeFailed
}

// deliver makes one try of what goes out together, and stores what became of it.
func (e *Engine) deliver(ctx context.Context, settings *decisions, group []Delivery) error {
	now := time.Now().UTC()
	channel := group[0].Channel
	c, there := settings.inForce(NoticeChannelSetting, channel, now).(NoticeChannel)
	var live []int
	for i := range group {
		d := &group[i]
		needed, err := e.render(ctx, &d.Message)
		switch {
		case err != nil:
			return err
		case !there:
			d.State, d.Error = DeliveryGivenUp, "the channel of notices was removed"
		case !needed:
			d.State, d.Error = DeliveryNeedless, "it was over before it went out"
		default:
			live = append(live, i)
		}
	}
	var opened, closed []Incident
	if len(live) > 0 {
		messages := make([]Message, len(live))
		for i, j := range live {
			messages[i] = group[j].Message
		}
		sendCtx, cancel := context.WithTimeout(ctx, sendTime)
		err := e.notifier.Send(sendCtx, c.target(channel), outgoing(channel, group[0].Batch, messages))
		cancel()
		if ctx.Err() != nil {
			return ctx.Err() // whether it arrived is not known; it is tried again under the same id
		}
		now = time.Now().UTC()
		for _, i := range live {
			e.settleDelivery(&group[i], err, now)
		}
		switch d := group[live[0]]; d.State {
		case DeliverySent:
			closed = append(closed, Incident{Kind: IncidentNoticeFailed, Subject: channel})
		case DeliveryGivenUp:
			opened = append(opened, Incident{Kind: IncidentNoticeFailed, Subject: channel, OpenedAt: now,
				Message: fmt.Sprintf("The channel of notices %s does not take what it is sent (%s). What was not told stands in: truestock notices list --state given_up. Correct its address under notices.targets, then: truestock notices retry %s", channel, d.Error, channel)})
			e.log.Error("notice given up", "channel", channel, "error", d.Error)
		default:
			if d.Attempts == 1 {
				e.log.Info("notice not delivered, will try again", "channel", channel, "error", d.Error)
			}
		}
	}
	if err := e.store.SaveDeliveries(ctx, group, opened, closed, now); err != nil {
		return fmt.Errorf("note what became of notices to %s: %w", channel, err)
	}
	return nil
}

// settleDelivery says what a try has made of a delivery.
func (e *Engine) settleDelivery(d *Delivery, err error, now time.Time) {
	d.Attempts++
	if err == nil {
		d.State, d.SentAt, d.Error = DeliverySent, now, ""
		return
	}
	d.Error = errorText(err)
	switch kind := connectors.KindOf(err); {
	case kind == connectors.Rejected, kind == connectors.Auth, kind == connectors.Unmapped, now.Sub(later(d.At, d.Batch)) > noticeLife:
		d.State = DeliveryGivenUp
	default:
		d.DueAt = later(now.Add(e.backoff(d.Attempts)), connectors.RetryAt(err)).UTC()
	}
}

// outgoing is what a channel gets: a message, or several of a window as one. Its id depends on nothing that a later try
// would change.
func outgoing(channel string, batch time.Time, messages []Message) connectors.Message {
	first := messages[0]
	if batch.IsZero() {
		return connectors.Message{ID: messageID(first.Key, first.At), Type: first.Type, Title: first.Title, Text: first.Text, Data: first.Data, At: first.At.UTC()}
	}
	type entry struct {
		ID   string          `json:"id"`
		Type string          `json:"type"`
		At   time.Time       `json:"at"`
		Text string          `json:"text"`
		Data json.RawMessage `json:"data"`
	}
	entries := make([]entry, len(messages))
	var text strings.Builder
	for i, m := range messages {
		entries[i] = entry{messageID(m.Key, m.At), m.Type, m.At.UTC(), m.Text, m.Data}
		fmt.Fprintf(&text, "%s  %s\n", m.At.UTC().Format("2006-01-02 15:04 MST"), m.Title)
	}
	title := fmt.Sprintf("%d notices until %s", len(messages), batch.UTC().Format(time.RFC3339))
	m := newMessage("", MessageDigest, channel, title, text.String(), batch, struct {
		Messages []entry `json:"messages"`
	}{entries})
	return connectors.Message{ID: messageID(names(channel, strconv.FormatInt(batch.UnixNano(), 10), first.Key), first.At), Type: MessageDigest, Title: title, Text: m.Text, Data: m.Data, At: batch.UTC()}
}

// messageID is the id of a message for receivers: the same for the same cause, another one in another installation.
func messageID(key string, at time.Time) string {
	sum := sha256.Sum256([]byte(names(key, strconv.FormatInt(at.UnixNano(), 10))))
	return "msg_" + hex.EncodeToString(sum[:16])
}

// render brings the text of a message up to what is true now, and reports whether it is still worth telling.
func (e *Engine) render(ctx context.Context, m *Message) (needed bool, err error) {
	if m.Type != MessageIncidentOpened {
		return true, nil
	}
	var d incidentData
	if err := json.Unmarshal(m.Data, &d); err != nil {
		return true, nil // of another version: as it was stored
	}
	id, err := strconv.ParseInt(d.Incident, 10, 64)
	if err != nil {
		return true, nil
	}
	i, err := e.store.IncidentByID(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at incident %d: %w", id, err)
	}
	closed := i.ClosedAt
	i.ClosedAt = time.Time{}
	now := IncidentMessage(i)
	m.Text, m.Data = now.Text, now.Data
	if !closed.IsZero() {
		m.Text += " (It is over since " + closed.UTC().Format(time.RFC3339) + ".)"
	}
	return true, nil
}

// forgetMessages drops what is old, once an hour.
func (e *Engine) forgetMessages(ctx context.Context) error {
	now := time.Now().UTC()
	e.mu.Lock()
	due := now.Sub(e.forgot) >= time.Hour
	if due {
		e.forgot = now
	}
	e.mu.Unlock()
	if !due {
		return nil
	}
	return e.store.DropMessages(ctx, now.Add(-e.keepNotices))
}

// --- channels of notices --------------------------------------------------------------------------------------------

// NoticeChannelSetting says who is told what, by a name; its value is a NoticeChannel.
const NoticeChannelSetting SettingKind = "notice_channel"

// NoticeChannel is a way to tell people.
type NoticeChannel struct {
	// Target is the name under notices.targets of the configuration; empty: the channel's own name.
	Target string `json:"target,omitempty"`
	// Types are the types of messages that it takes; empty: all.
	Types []string `json:"types,omitempty"`
	// Subjects are SKUs, connections and the like; empty: all.
	Subjects []string `json:"subjects,omitempty"`
	// Digest, where set, gathers messages until the end of a window, by the clock of Zone: daily, weekly or hours.
	Digest   stock.Period    `json:"digest,omitempty"`
	Zone     *stock.Zone     `json:"zone,omitempty"`
	Begins   *stock.Clock    `json:"begins,omitempty"`
	Weekday  *time.Weekday   `json:"weekday,omitempty"`
	Openings []stock.Opening `json:"openings,omitempty"`
}

func (c NoticeChannel) target(name string) string {
	if c.Target != "" {
		return c.Target
	}
	return name
}

func (c NoticeChannel) takes(m Message) bool {
	return (len(c.Types) == 0 || slices.Contains(c.Types, m.Type)) && (len(c.Subjects) == 0 || slices.Contains(c.Subjects, m.Subject))
}

// calendar makes the windows of digests; nil where there are none.
func (c NoticeChannel) calendar() *stock.Calendar {
	if c.Digest == "" {
		return nil
	}
	return &stock.Calendar{Resource: "digest", Period: c.Digest, Zone: value(c.Zone), At: value(c.Begins), Weekday: value(c.Weekday), Openings: c.Openings}
}

// batchEnd is when what comes now goes out; zero: at once.
func (c NoticeChannel) batchEnd(now time.Time) time.Time {
	calendar := c.calendar()
	if calendar == nil {
		return time.Time{}
	}
	windows := calendar.Containing(now)
	if len(windows) == 0 {
		windows = calendar.Between(now, now.Add(comingWindows))
	}
	if len(windows) == 0 {
		return time.Time{}
	}
	return windows[0].End.UTC()
}

func parseNoticeChannel(_ isChannel, key string, raw json.RawMessage) (any, error) {
	if key == "" || len(key) > 100 || strings.TrimSpace(key) != key {
		return nil, &stock.FieldError{Field: "key", Reason: "is not a name: a channel of notices is named in up to 100 characters"}
	}
	c, err := readSetting[NoticeChannel](raw)
	if err != nil {
		return nil, err
	}
	for i, t := range c.Types {
		if !slices.Contains(messageTypes, t) {
			return nil, &stock.FieldError{Field: fmt.Sprintf("types[%d]", i), Reason: fmt.Sprintf("is %q; there are: %s", t, strings.Join(messageTypes, ", "))}
		}
	}
	switch calendar := c.calendar(); {
	case calendar == nil && (c.Zone != nil || c.Begins != nil || c.Weekday != nil || c.Openings != nil):
		return nil, &stock.FieldError{Field: "digest", Reason: "is missing: say how often a digest goes out, daily, weekly or hours"}
	case calendar != nil && c.Zone == nil:
		return nil, &stock.FieldError{Field: "zone", Reason: "is missing: say by which clock digests go out, such as Europe/Berlin or UTC"}
	case calendar != nil:
		if err := calendar.Validate(); err != nil {
			return nil, digestField(err)
		}
	}
	return c, nil
}

// digestField gives an error the name that the field has in a NoticeChannel.
func digestField(err error) error {
	f, ok := errors.AsType[*stock.FieldError](err)
	if !ok {
		return err
	}
	name := strings.TrimPrefix(f.Field, "calendar.")
	switch name {
	case "period", "calendar":
		name = "digest"
	case "at":
		name = "begins"
	}
	return &stock.FieldError{Field: name, Reason: f.Reason}
}

// checkNotices refuses channels of notices that lead to no target of the configuration.
func (e *Engine) checkNotices(versions []NewSetting) error {
	var targets map[string]string
	if e.notifier != nil {
		targets = e.notifier.Targets()
	}
	for _, v := range versions {
		if v.Kind != NoticeChannelSetting || v.Value == nil {
			continue
		}
		c, err := readSetting[NoticeChannel](v.Value)
		if err != nil {
			return err
		}
		if _, ok := targets[c.target(v.Key)]; !ok {
			return fmt.Errorf("%s %s: %w", v.Kind, v.Key, &stock.FieldError{Field: "target",
				Reason: fmt.Sprintf("%q is not under notices.targets of the configuration; there are: %s", c.target(v.Key), strings.Join(slices.Sorted(maps.Keys(targets)), ", "))})
		}
	}
	return nil
}

// keys are the names of the settings of a kind that there are, or ever were.
func (d *decisions) keys(kind SettingKind) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.values[kind]))
}

// --- what people ask ------------------------------------------------------------------------------------------------

// NoticeView is a message on its way to a channel, as people and tools see it.
type NoticeView struct {
	ID       string        `json:"id" doc:"of the message; with the channel it names the delivery"`
	Channel  string        `json:"channel"`
	State    DeliveryState `json:"state" enum:"due,sent,given_up,needless"`
	Type     string        `json:"type"`
	Subject  string        `json:"subject"`
	Title    string        `json:"title"`
	Text     string        `json:"text"`
	At       time.Time     `json:"at" doc:"when it happened"`
	DueAt    *time.Time    `json:"due_at" doc:"when it is tried next"`
	SentAt   *time.Time    `json:"sent_at"`
	Attempts int           `json:"attempts"`
	Error    string        `json:"error,omitempty" doc:"why it did not arrive"`
}

// NoticeQuery selects deliveries; the zero values mean any. Before and After are message and channel of the last one that the
// caller has.
type NoticeQuery struct {
	Channel string
	State   DeliveryState
	Before  int64
	After   string
	Limit   int
}

// Notices lists deliveries, the newest message first and then by channel.
func (e *Engine) Notices(ctx context.Context, q NoticeQuery) ([]NoticeView, error) {
	rows, err := e.store.ListDeliveries(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("list notices: %w", err)
	}
	views := make([]NoticeView, len(rows))
	for i, d := range rows {
		views[i] = NoticeView{ID: eventReference(d.ID), Channel: d.Channel, State: d.State, Type: d.Type, Subject: d.Subject, Title: d.Title, Text: d.Text,
			At: d.At.UTC(), SentAt: optionalTime(d.SentAt), Attempts: d.Attempts, Error: d.Error}
		if d.State == DeliveryDue {
			views[i].DueAt = optionalTime(d.DueAt)
		}
	}
	return views, nil
}

// RetryNotices makes what was given up at a channel due again.
func (e *Engine) RetryNotices(ctx context.Context, by Actor, channel string) (int, error) {
	now := time.Now().UTC()
	entry := act(now, by.Name, "notices retried", NoticeChannelSetting.String()+" "+channel, nil, nil)
	entry.Reason = by.Reason
	n, err := e.store.RetryDeliveries(ctx, channel, now, entry)
	if err != nil {
		return 0, fmt.Errorf("try notices to %s again: %w", channel, err)
	}
	e.wakeOutbox.send()
	return n, nil
}

// String is the kind's name.
func (k SettingKind) String() string { return string(k) }

// TestNotice sends a message to a target of the configuration at once, to see whether it arrives.
func (e *Engine) TestNotice(ctx context.Context, target string) error {
	if e.notifier == nil || e.notifier.Targets()[target] == "" {
		return fmt.Errorf("target %q: %w: it is not under notices.targets of the configuration", target, ErrNotFound)
	}
	now := time.Now().UTC()
	m := newMessage("test", MessageTest, target, "A test of truestock", "This is a test: notices to "+target+" arrive.", now, struct {
		Target string `json:"target"`
	}{target})
	return e.notifier.Send(ctx, target, outgoing(target, time.Time{}, []Message{m}))
}
