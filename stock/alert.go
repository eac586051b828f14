package stock

import (
	"cmp"
	"slices"
	"time"
)

// Quiet is a time of the day in which no notice goes out, by a zone's clock. When To is not after From it ends on the
// next day.
type Quiet struct {
	Zone Zone  `json:"zone"`
	From Clock `json:"from"`
	To   Clock `json:"to"`
}

// Validate names the first field that makes no sense.
func (q Quiet) Validate() error {
	if q.From == q.To {
		return refuse("quiet", "is from %s to %s: it has a length, and leaves some of the day", q.From, q.To)
	}
	return firstOf(between("quiet.from", q.From, 0, EndOfDay-1), between("quiet.to", q.To, 0, EndOfDay))
}

// Until is the end of the quiet time that t lies in; t itself when it lies in none.
func (q Quiet) Until(t time.Time) time.Time {
	// It may have begun yesterday, and where clocks change the day may be another for one of its ends.
	for days := -2; days <= 1; days++ {
		d := q.Zone.DateOf(t).Add(days)
		ends := d
		if q.To <= q.From {
			ends = d.Add(1)
		}
		w := Window{Start: q.Zone.Instant(d, q.From), End: q.Zone.Instant(ends, q.To)}
		if w.Contains(t) {
			return w.End
		}
	}
	return t
}

// AlertRule says when a low number is told, and how often.
type AlertRule struct {
	// Threshold is the number below which the stock is low.
	Threshold Quantity `json:"threshold"`
	// Rearm is how far above the threshold the number must rise before another fall is told: one that swings around the
	// threshold is told once.
	Rearm Quantity `json:"rearm,omitempty"`
	// Escalation lists, from the first notice on, after what time a further one follows while nobody has acknowledged.
	Escalation []time.Duration `json:"escalation,omitempty"`
	// Quiet holds notices back; nil holds none.
	Quiet *Quiet `json:"quiet,omitempty"`
}

// Validate names the first field that makes no sense.
func (r AlertRule) Validate() error {
	if err := firstOf(between("threshold", r.Threshold, 0, MaxQuantity), between("rearm", r.Rearm, 0, MaxQuantity)); err != nil {
		return err
	}
	for i, after := range r.Escalation {
		if after <= 0 || i > 0 && after <= r.Escalation[i-1] {
			return refuse("escalation", "has %s as step %d: every step comes later than the one before it", after, i+1)
		}
	}
	if r.Quiet != nil {
		return r.Quiet.Validate()
	}
	return nil
}

// Alert is the state of one rule for one item. The zero value is an item that is not low.
type Alert struct {
	// Crossing counts the falls below the threshold; with the step it is a notice's identity.
	Crossing int64     `json:"crossing"`
	Low      bool      `json:"low"`
	LowAt    time.Time `json:"low_at,omitzero"`
	// Sent is how many steps of this crossing have been told or passed over: 1 after the first notice.
	Sent   int       `json:"sent"`
	SentAt time.Time `json:"sent_at,omitzero"` // the first notice
	// Acknowledged ends the escalation.
	Acknowledged bool `json:"acknowledged"`
}

// Notice is one message to be sent. (Crossing, Step) is its identity: a step is told once.
type Notice struct {
	Crossing int64     `json:"crossing"`
	Step     int       `json:"step"` // 0 is the first, above it the escalations
	Level    Quantity  `json:"level"`
	LowAt    time.Time `json:"low_at"`
}

// Observe follows the number at an instant. It tells at most one notice: of steps that came due together, as after a
// quiet night or an outage, the last. A number that rises again before its notice could be sent is not told.
func (r AlertRule) Observe(a Alert, level Quantity, now time.Time) (Alert, *Notice) {
	switch {
	case !a.Low && level < r.Threshold:
		a = Alert{Crossing: a.Crossing + 1, Low: true, LowAt: now.UTC()}
	case a.Low && level >= min(r.Threshold+r.Rearm, 2*MaxQuantity):
		a = Alert{Crossing: a.Crossing}
	}
	at, due := r.NextAt(a)
	if !due || now.Before(at) || r.Quiet != nil && r.Quiet.Until(now).After(now) {
		return a, nil
	}
	step := a.Sent
	if a.Sent == 0 {
		a.SentAt = now.UTC()
	} else {
		for step < len(r.Escalation) && !now.Before(a.SentAt.Add(r.Escalation[step])) {
			step++
		}
	}
	a.Sent = step + 1
	return a, &Notice{Crossing: a.Crossing, Step: step, Level: level, LowAt: a.LowAt}
}

// NextAt is the instant at which the next notice of the crossing is due, after the quiet time that it falls into. due is
// false when no further one is.
func (r AlertRule) NextAt(a Alert) (at time.Time, due bool) {
	switch {
	case !a.Low:
		return time.Time{}, false
	case a.Sent == 0:
		at = a.LowAt
	case a.Acknowledged || a.Sent > len(r.Escalation):
		return time.Time{}, false
	default:
		at = a.SentAt.Add(r.Escalation[a.Sent-1])
	}
	if r.Quiet != nil {
		at = r.Quiet.Until(at)
	}
	return at.UTC(), true
}

// Acknowledge says that somebody has seen the crossing.
func (a Alert) Acknowledge() Alert {
	a.Acknowledged = a.Low
	return a
}

// Message is a notice on its way to a recipient who takes digests.
type Message struct {
	Recipient string
	At        time.Time
	Text      string
}

// Digest is what one recipient gets at the end of a window: the messages of that window, oldest first.
type Digest struct {
	Recipient string
	Window    Window
	Messages  []Message
}

// Digests groups messages by recipient and by the calendar's windows, and lists the groups whose window is over, by the
// end of the window and then by recipient. A message outside of every window goes into the next one.
func Digests(messages []Message, calendar Calendar, now time.Time) []Digest {
	type key struct {
		recipient string
		window    WindowID
	}
	groups := make(map[key]*Digest)
	for _, m := range messages {
		if m.At.After(now) {
			continue
		}
		windows := calendar.Containing(m.At)
		if len(windows) == 0 {
			windows = calendar.Between(m.At, now)
		}
		if len(windows) == 0 || windows[0].End.After(now) {
			continue
		}
		k := key{m.Recipient, windows[0].ID()}
		if groups[k] == nil {
			groups[k] = &Digest{Recipient: m.Recipient, Window: windows[0]}
		}
		groups[k].Messages = append(groups[k].Messages, m)
	}
	out := make([]Digest, 0, len(groups))
	for _, g := range groups {
		slices.SortStableFunc(g.Messages, func(a, b Message) int { return a.At.Compare(b.At) })
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b Digest) int {
		return cmp.Or(a.Window.End.Compare(b.Window.End), a.Window.Start.Compare(b.Window.Start), cmp.Compare(a.Recipient, b.Recipient))
	})
	return out
}
