package sync

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// A service is sold by windows that lie ahead of the order, and each sold unit takes units of resources for the whole of
// its window. The SKU of the article stands for the next windows that are for sale: its number is what they can still take
// together, and an order of it is booked in the first of them that has room. ARTICLE@2026-12-01T09:00 stands for the one
// window that begins then by the clock of the article's zone.

// ResourceSetting is what services are made of, by name; its value is a Resource.
const ResourceSetting SettingKind = "resource"

// Resource is a team, a room, a machine, or so many projects at once.
type Resource struct {
	// Zone is whose clock the shifts and the windows mean.
	Zone *stock.Zone `json:"zone,omitempty"`
	// Shifts are the spans of the week in which the resource has a capacity; those that overlap add up.
	Shifts []Shift `json:"shifts,omitempty"`
	// Period, Begins, Weekday and Day make windows, as in an Article, each of which has the Capacity.
	Period   stock.Period    `json:"period,omitempty"`
	Begins   *stock.Clock    `json:"begins,omitempty"`
	Weekday  *time.Weekday   `json:"weekday,omitempty"`
	Day      *int            `json:"day,omitempty"`
	Capacity *stock.Quantity `json:"capacity,omitempty"`
	// Away are units that are not there for a time: holidays, illness, repair.
	Away []Absence `json:"away,omitempty"`
}

// Shift is a span of every week in which a resource has so many units.
type Shift struct {
	Weekday  time.Weekday   `json:"weekday"`
	From     stock.Clock    `json:"from"`
	To       stock.Clock    `json:"to"`
	Capacity stock.Quantity `json:"capacity"`
}

// Absence is a span, from Start up to and not including End, in which units of a resource are not there.
type Absence struct {
	Start time.Time      `json:"start"`
	End   time.Time      `json:"end"`
	Units stock.Quantity `json:"units"`
}

// Slot is a window in which units of a service are booked, with what one unit takes.
type Slot struct {
	Start time.Time      `json:"start"`
	End   time.Time      `json:"end"`
	Units stock.Quantity `json:"units"`
	Needs []stock.Need   `json:"needs"`
}

// Booking is what a line of an order takes of a resource in a window. Units of 0 say that nothing is left of it.
type Booking struct {
	OrderKey
	LineID string
	SKU    stock.SKU
	stock.Booking
	At time.Time
}

// resource is a Resource that was read and checked.
type resource struct {
	Resource
	calendars []stock.Calendar
	capacity  []stock.Quantity
}

// shifts are those that share an instant with a span.
func (r *resource) shifts(start, end time.Time) (out []stock.Shift) {
	for i, c := range r.calendars {
		for _, w := range c.Between(start, end) {
			out = append(out, stock.Shift{Window: w, Capacity: r.capacity[i]})
		}
	}
	return out
}

func (r *resource) absences(name string) (out []stock.Booking) {
	for _, a := range r.Away {
		out = append(out, stock.Booking{Window: stock.Window{Resource: name, Start: a.Start.UTC(), End: a.End.UTC()}, Units: a.Units})
	}
	return out
}

func parseResource(_ isChannel, key string, raw json.RawMessage) (any, error) {
	field := func(name, format string, args ...any) error {
		return &stock.FieldError{Field: name, Reason: fmt.Sprintf(format, args...)}
	}
	if err := checkName("a resource", key); err != nil {
		return nil, err
	}
	raw, err := zoneOf(raw)
	if err != nil {
		return nil, err
	}
	def, err := readSetting[Resource](raw)
	if err != nil {
		return nil, err
	}
	r := &resource{Resource: def}
	add := func(c stock.Calendar, capacity stock.Quantity) error {
		c.Resource, c.Zone = key, *def.Zone
		r.calendars, r.capacity = append(r.calendars, c), append(r.capacity, capacity)
		return c.Validate()
	}
	within := func(name string, q stock.Quantity) error {
		if q < 0 || q > stock.MaxQuantity {
			return field(name, "is %d: it must be from 0 to %d", q, stock.MaxQuantity)
		}
		return nil
	}
	switch {
	case def.Zone == nil:
		return nil, field("zone", "is missing: say by which clock the shifts are, such as Europe/Berlin or UTC")
	case len(def.Shifts) == 0 && def.Period == "":
		return nil, field("shifts", "is empty: say when how many there are, or give a period and a capacity")
	case def.Period == "" && (def.Begins != nil || def.Weekday != nil || def.Day != nil || def.Capacity != nil):
		return nil, field("period", "is missing: say how often a window begins, daily, weekly or monthly")
	case def.Period == stock.Hours:
		return nil, field("period", "is hours: write them as shifts")
	case def.Period != "" && def.Capacity == nil:
		return nil, field("capacity", "is missing: say how many units each window has")
	}
	for i, s := range def.Shifts {
		name := fmt.Sprintf("shifts[%d]", i)
		if err := within(name+".capacity", s.Capacity); err != nil {
			return nil, err
		}
		if err := add(stock.Calendar{Period: stock.Hours, Openings: []stock.Opening{{Weekday: s.Weekday, From: s.From, To: s.To}}}, s.Capacity); err != nil {
			if f, ok := errors.AsType[*stock.FieldError](err); ok {
				err = &stock.FieldError{Field: name + strings.TrimPrefix(f.Field, "openings[0]"), Reason: f.Reason}
			}
			return nil, err
		}
	}
	if def.Period != "" {
		if err := within("capacity", *def.Capacity); err != nil {
			return nil, err
		}
		if err := add(stock.Calendar{Period: def.Period, At: value(def.Begins), Weekday: value(def.Weekday), Day: value(def.Day)}, *def.Capacity); err != nil {
			return nil, articleField(err)
		}
	}
	for i, a := range def.Away {
		name := fmt.Sprintf("away[%d]", i)
		switch {
		case a.Start.IsZero():
			return nil, field(name+".start", "is missing")
		case !a.Start.Before(a.End):
			return nil, field(name+".end", "is not after start: an absence has a length")
		case a.Units < 1:
			return nil, field(name+".units", "is %d: say how many are away", a.Units)
		}
		if err := within(name+".units", a.Units); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// mostWindowsAhead bounds how far ahead a service is sold.
const mostWindowsAhead = 400

// validateService checks the fields of a service, and that others have none of them.
func (a Article) validateService() error {
	refuse := func(field, format string, args ...any) error {
		return &stock.FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	given := func(name string, there bool) error {
		if there {
			return refuse(name, "is only for a service")
		}
		return nil
	}
	if a.Kind != stock.Service {
		return cmp.Or(given("needs", a.Needs != nil), given("windows_ahead", a.WindowsAhead != nil), given("cutoff_minutes", a.CutoffMinutes != nil),
			given("cutoff_days", a.CutoffDays != nil), given("cutoff_at", a.CutoffAt != nil))
	}
	for _, f := range []struct {
		name  string
		there bool
	}{{"cap", a.Cap != nil}, {"per_second", a.PerSecond != nil}, {"per_minute", a.PerMinute != nil}, {"per_day", a.PerDay != nil}, {"budget", a.Budget != nil}} {
		if f.there {
			return refuse(f.name, "is not for a service: what can be sold of it, its resources say")
		}
	}
	if len(a.Needs) == 0 {
		return refuse("needs", "is empty: say which resources a unit takes, such as [{\"resource\":\"fitter\",\"units\":1}]")
	}
	for i, n := range a.Needs {
		switch {
		case n.Resource == "":
			return refuse(fmt.Sprintf("needs[%d].resource", i), "is empty")
		case n.Units < 1 || n.Units > stock.MaxQuantity:
			return refuse(fmt.Sprintf("needs[%d].units", i), "is %d: it must be from 1 to %d", n.Units, stock.MaxQuantity)
		}
	}
	if n := a.WindowsAhead; n != nil && (*n < 1 || *n > mostWindowsAhead) {
		return refuse("windows_ahead", "is %d: it must be from 1 to %d", *n, mostWindowsAhead)
	}
	if n := a.CutoffMinutes; n != nil && (*n < 0 || *n > 3660*24*60) {
		return refuse("cutoff_minutes", "is %d: it must be from 0 to %d", *n, 3660*24*60)
	}
	err := a.cutOff().Validate()
	if f, ok := errors.AsType[*stock.FieldError](err); ok {
		return &stock.FieldError{Field: "cutoff_" + f.Field, Reason: f.Reason}
	}
	return err
}

func (a Article) cutOff() stock.CutOff {
	return stock.CutOff{Lead: time.Duration(value(a.CutoffMinutes)) * time.Minute, Days: value(a.CutoffDays), At: a.CutoffAt}
}

// service is what a SKU of a service stands for.
type service struct {
	sku, article stock.SKU
	Article
	calendar stock.Calendar
	// start is when the one window begins that the SKU stands for; zero: it stands for the next ones.
	start time.Time
}

const windowLayout = "2006-01-02T15:04"

// service tells whether a SKU is that of a service, or of a window of one.
func (d *decisions) service(sku stock.SKU, at time.Time) (service, bool) {
	if d == nil || !d.any(ArticleSetting) {
		return service{}, false
	}
	s := service{sku: sku, article: sku}
	s.Article = d.article(sku, at)
	if i := strings.LastIndexByte(string(sku), '@'); s.Kind != stock.Service && i > 0 {
		reading, err := time.Parse(windowLayout, string(sku[i+1:]))
		if err != nil {
			return service{}, false
		}
		if s.article, s.Article = sku[:i], d.article(sku[:i], at); s.Kind == stock.Service {
			year, month, day := reading.Date()
			s.start = value(s.Zone).Instant(stock.Date{Year: year, Month: month, Day: day}, stock.Clock(reading.Hour()*3600+reading.Minute()*60))
		}
	}
	if s.Kind != stock.Service {
		return service{}, false
	}
	s.calendar = *s.rule(s.article).Calendar
	return s, true
}

// windows are those that an order placed at an instant can be booked in, by their start.
func (s *service) windows(at time.Time) []stock.Window {
	open := func(w stock.Window) bool { return at.Before(s.cutOff().Of(w, value(s.Zone))) }
	if !s.start.IsZero() {
		w, there := s.fixed()
		if !there || !open(w) {
			return nil
		}
		return []stock.Window{w}
	}
	ahead := 1
	if s.WindowsAhead != nil {
		ahead = *s.WindowsAhead
	}
	// The cut-off of the first may lie years ahead of it.
	for span := comingWindows * time.Duration(ahead+1); ; span *= 4 {
		windows := slices.DeleteFunc(s.calendar.Between(at, at.Add(span)), func(w stock.Window) bool { return !open(w) })
		if len(windows) >= ahead {
			return windows[:ahead]
		}
		if span > 50*366*24*time.Hour {
			return windows
		}
	}
}

// fixed is the one window that the SKU stands for; false when none begins then.
func (s *service) fixed() (stock.Window, bool) {
	for _, w := range s.calendar.Containing(s.start) {
		if w.Start.Equal(s.start) {
			return w, true
		}
	}
	return stock.Window{}, false
}

// staff is what resources have, and what is booked of it.
type staff struct {
	d         *decisions
	at        time.Time
	resources []string
	bookings  []stock.Booking
	away      []stock.Booking
}

// staffOf loads what is booked of resources in windows that are not over at an instant; made until another, and all where
// that is zero.
func (d *decisions) staffOf(tx Booked, resources []string, at, madeUntil time.Time) (*staff, error) {
	s := &staff{d: d, at: at, resources: resources}
	var err error
	if s.bookings, err = tx.Booked(resources, at, madeUntil); err != nil {
		return nil, err
	}
	for _, name := range resources {
		if r := d.resource(name, at); r != nil {
			s.away = append(s.away, r.absences(name)...)
		}
	}
	return s, nil
}

func (d *decisions) resource(name string, at time.Time) *resource {
	r, _ := d.inForce(ResourceSetting, name, at).(*resource)
	return r
}

func (s *staff) shifts(w stock.Window) (out []stock.Shift) {
	for _, name := range s.resources {
		if r := s.d.resource(name, s.at); r != nil {
			out = append(out, r.shifts(w.Start, w.End)...)
		}
	}
	return out
}

func (s *staff) during(w stock.Window) (out []stock.Booking) {
	for _, b := range slices.Concat(s.bookings, s.away) {
		if b.Overlaps(w) {
			out = append(out, b)
		}
	}
	return out
}

// slots is how many units of a service a window can still take from an order placed at an instant.
func (s *staff) slots(of *service, w stock.Window, placed time.Time) stock.Quantity {
	return stock.Slots(w, of.Needs, s.shifts(w), s.during(w), of.cutOff(), value(of.Zone), placed)
}

func (s *staff) book(w stock.Window, needs []stock.Need, units stock.Quantity) {
	s.bookings = append(s.bookings, stock.Bookings(w, needs, units)...)
}

// lacking is the first window of a booking in which more of a resource is booked than there is.
func (s *staff) lacking(resource string) (w stock.Window, missing stock.Quantity) {
	seen := make(map[stock.Window]bool)
	for _, b := range s.bookings {
		if b.Resource != resource || seen[b.Window] || missing > 0 && !b.Start.Before(w.Start) {
			continue
		}
		seen[b.Window] = true
		if lacks := stock.Lacking(b.Resource, b.Window, s.shifts(b.Window), s.during(b.Window)); lacks > 0 {
			w, missing = b.Window, lacks
		}
	}
	return w, missing
}

func resourcesOf(needs []stock.Need) map[string]bool {
	names := make(map[string]bool, len(needs))
	for _, n := range needs {
		names[n.Resource] = true
	}
	return names
}

// capacityOf works out what a service can still take.
func (p *planInput) capacityOf(tx PlanTx, s service) (demand, error) {
	madeUntil := time.Time{}
	if p.rules != nil {
		madeUntil = p.at
	}
	team, err := p.settings.staffOf(tx, sortedKeys(resourcesOf(s.Needs), cmp.Compare[string]), p.at, madeUntil)
	if err != nil {
		return demand{}, err
	}
	var d demand
	for _, name := range team.resources {
		told := Incident{Kind: IncidentOverbooked, Subject: "resource " + name, OpenedAt: p.at}
		if w, missing := team.lacking(name); missing > 0 {
			told.Message = fmt.Sprintf("%d more of %s are booked from %s to %s than its shifts have. Find more, or agree with buyers on another time; nothing that takes of it is offered for then.",
				missing, name, w.Start.UTC().Format(time.RFC3339), w.End.UTC().Format(time.RFC3339))
			d.opened = append(d.opened, told)
			continue
		}
		told.OpenedAt = p.at.Add(1)
		d.over = append(d.over, told)
	}
	windows := s.windows(p.at)
	if len(windows) == 0 {
		rule := "no window is open for sale now"
		if !s.start.IsZero() {
			rule = "no window that is for sale begins at " + s.start.UTC().Format(time.RFC3339)
		}
		d.steps = []stock.Step{{Rule: rule}}
		return d, nil
	}
	// Windows share resources, so each takes from what those before it leave.
	for _, w := range windows {
		free := team.slots(&s, w, p.at)
		team.book(w, s.Needs, free)
		d.steps = append(d.steps, stock.Step{Rule: fmt.Sprintf("free in the window from %s to %s", w.Start.UTC().Format(time.RFC3339), w.End.UTC().Format(time.RFC3339)), Before: d.left, After: d.left + free})
		d.left += free
		d.next = earlier(d.next, s.cutOff().Of(w, value(s.Zone)))
	}
	return d, nil
}

// incidents are what planning found about articles that are sold by windows: opened, and over.
func (p *planInput) incidents() (opened, over []Incident) {
	for _, sku := range sortedKeys(p.demand, cmp.Compare[stock.SKU]) {
		d := p.demand[sku]
		opened, over = append(opened, d.opened...), append(over, d.over...)
	}
	return opened, over
}

// isService reports whether a SKU is a service or a window of one.
func (b *book) isService(sku stock.SKU) bool {
	_, is := b.settings.service(sku, b.now)
	return is
}

// recordName is what the system of record calls a SKU, where that is another name: it knows a service, and nothing of its
// windows.
func (b *book) recordName(sku stock.SKU) stock.SKU {
	if s, is := b.settings.service(sku, b.now); is && s.article != sku {
		return s.article
	}
	return ""
}

// bookSlots books what the lines of the batch want of services, and frees what they do not want any more, first come first
// served. Where a line does not fit it is booked all the same, since a buyer has it: in its own window, or in the last of
// those that are for sale. What is booked beyond the shifts is told when the service is planned.
func (b *book) bookSlots(tx LedgerTx) error {
	if len(b.booked) == 0 {
		return nil
	}
	type line struct {
		id        commitmentID
		order     *Order
		component *LineComponent
		want      stock.Quantity
		service   service
		is        bool
	}
	var lines []line
	names := make(map[string]bool)
	for _, id := range sortedKeys(b.booked, compareCommitments) {
		o := b.orders[id.OrderKey]
		for i := range o.Lines {
			l := &o.Lines[i]
			for j := range l.Components {
				c := &l.Components[j]
				if l.ID != id.lineID || c.SKU != id.sku {
					continue
				}
				s, is := b.settings.service(c.SKU, b.now)
				lines = append(lines, line{id, o, c, o.open(l) * c.Units, s, is})
				maps.Copy(names, resourcesOf(s.Needs))
				for _, slot := range c.Slots {
					maps.Copy(names, resourcesOf(slot.Needs))
				}
			}
		}
	}
	slices.SortStableFunc(lines, func(x, y line) int { return x.order.orderedAt().Compare(y.order.orderedAt()) })
	team, err := b.settings.staffOf(tx, sortedKeys(names, cmp.Compare[string]), b.now, time.Time{})
	if err != nil {
		return err
	}
	changed := make(map[string]bool)
	for _, l := range lines {
		c := l.component
		slot := func(w stock.Window, needs []stock.Need, units stock.Quantity) {
			if units == 0 {
				return
			}
			i := slices.IndexFunc(c.Slots, func(s Slot) bool { return s.Start.Equal(w.Start) })
			if i < 0 {
				c.Slots = append(c.Slots, Slot{Start: w.Start.UTC(), End: w.End.UTC(), Needs: needs})
				i = len(c.Slots) - 1
			}
			s := &c.Slots[i]
			s.Units += units
			team.book(stock.Window{Start: s.Start, End: s.End}, s.Needs, units)
			for _, k := range stock.Bookings(stock.Window{Start: s.Start, End: s.End}, s.Needs, s.Units) {
				b.bookings = append(b.bookings, Booking{OrderKey: l.id.OrderKey, LineID: l.id.lineID, SKU: l.id.sku, Booking: k, At: b.now})
				changed[k.Resource] = true
			}
		}
		have := stock.Quantity(0)
		for _, s := range c.Slots {
			have += s.Units
		}
		for i := len(c.Slots) - 1; i >= 0 && have > l.want; i-- {
			s := c.Slots[i]
			less := min(s.Units, have-l.want)
			slot(stock.Window{Start: s.Start, End: s.End}, s.Needs, -less)
			have -= less
		}
		c.Slots = slices.DeleteFunc(c.Slots, func(s Slot) bool { return s.Units == 0 })
		if have >= l.want || !l.is {
			if l.want == 0 {
				b.closed = append(b.closed, Incident{Kind: IncidentOverbooked, Subject: lineText(l.id), ClosedAt: b.now})
			}
			continue
		}
		rest, placed := l.want-have, l.order.orderedAt()
		if placed.After(b.now) {
			placed = b.now
		}
		windows := l.service.windows(placed)
		for _, w := range windows {
			take := min(rest, team.slots(&l.service, w, placed))
			slot(w, l.service.Needs, take)
			rest -= take
		}
		if rest == 0 {
			continue
		}
		w, there := l.service.fixed()
		if len(windows) > 0 {
			w, there = windows[len(windows)-1], true
		}
		if there {
			slot(w, l.service.Needs, rest)
		}
		if !there || !w.End.After(b.now) {
			b.incidents = append(b.incidents, Incident{Kind: IncidentOverbooked, Subject: lineText(l.id), OpenedAt: b.now,
				Message: fmt.Sprintf("order %s of %s took %d of %s, of which no window is to come. Agree with the buyer on another, or cancel it there.", l.id.OrderID, l.id.Channel, rest, l.id.sku)})
		}
	}
	return b.dirtyServices(tx, changed)
}

func lineText(id commitmentID) string {
	return mapping.OrderKey(id.Channel, id.OrderID) + "/" + id.lineID
}

// dirtyServices has everything planned that takes of resources.
func (b *book) dirtyServices(tx Booked, resources map[string]bool) error {
	services := b.settings.servicesOf(resources)
	windows, err := tx.WindowSKUs(services)
	for _, sku := range slices.Concat(services, windows) {
		b.dirty[sku] = true
	}
	return err
}

// servicesOf are the articles of which any version takes of one of the resources.
func (d *decisions) servicesOf(resources map[string]bool) []stock.SKU {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []stock.SKU
	for sku, versions := range d.values[ArticleSetting] {
		if slices.ContainsFunc(versions, func(v decision) bool {
			a, _ := v.value.(Article)
			return slices.ContainsFunc(a.Needs, func(n stock.Need) bool { return resources[n.Resource] })
		}) {
			out = append(out, stock.SKU(sku))
		}
	}
	slices.Sort(out)
	return out
}

// touchServices adds to what changes touch the services that take of a resource, and the windows of services whose article,
// sale or oversells they are about.
func (e *Engine) touchServices(tx PlanTx, changes []SettingChange, touches []Touch) error {
	d, err := e.decisions(tx)
	if err != nil {
		return err
	}
	for i, c := range changes {
		var services []stock.SKU
		switch c.Kind {
		case ResourceSetting:
			services = d.servicesOf(map[string]bool{c.Key: true})
			touches[i].SKUs = append(touches[i].SKUs, services...)
		case ArticleSetting:
			services = []stock.SKU{stock.SKU(c.Key)}
		case StopSaleSetting, IncidentSetting:
			services = touchedByPolicy(c.Key).SKUs
		default:
			continue
		}
		windows, err := tx.WindowSKUs(services)
		if err != nil {
			return err
		}
		touches[i].SKUs = append(touches[i].SKUs, windows...)
	}
	return nil
}

// checkResources refuses services that need what there is not, and the removal of what a service needs.
func (e *Engine) checkResources(tx PlanTx, versions []NewSetting) error {
	if !slices.ContainsFunc(versions, func(v NewSetting) bool { return v.Kind == ResourceSetting || v.Kind == ArticleSetting }) {
		return nil
	}
	d, err := e.decisions(tx)
	if err != nil {
		return err
	}
	after, err := d.with(e, versions)
	if err != nil {
		return err
	}
	// What comes into force later counts as there, for both sides.
	far := time.Unix(1<<40, 0)
	for _, v := range versions {
		switch v.Kind {
		case ArticleSetting:
			for i, n := range after.article(stock.SKU(v.Key), far).Needs {
				if after.resource(n.Resource, far) == nil {
					return fmt.Errorf("%s %s: %w", v.Kind, v.Key, &stock.FieldError{Field: fmt.Sprintf("needs[%d].resource", i),
						Reason: fmt.Sprintf("is %q, which is no resource: set it first, with truestock settings set resource", n.Resource)})
				}
			}
		case ResourceSetting:
			if v.Value != nil {
				continue
			}
			for _, sku := range after.servicesOf(map[string]bool{v.Key: true}) {
				if resourcesOf(after.article(sku, far).Needs)[v.Key] {
					return fmt.Errorf("%s %s: %w", v.Kind, v.Key, &stock.FieldError{Field: "key", Reason: fmt.Sprintf("is %s, which the service %s needs", v.Key, sku)})
				}
			}
		}
	}
	return nil
}
