package sync

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// A setting is what a person decided: a policy, what an article is, a campaign. Every change is a new version; versions
// are never altered, so that the past can be explained, and what was decided can be decided again.

// SettingKind says what a setting is about. (Kind, Key) names a setting.
type SettingKind string

// Setting is one version of a setting.
type Setting struct {
	ID   int64
	Kind SettingKind
	Key  string
	// Version counts from 1 within (Kind, Key).
	Version int64
	// Value is a JSON object; nil says that there is no such setting from EffectiveAt on.
	Value json.RawMessage
	// EffectiveAt is when the version comes into force. Of the versions in force at an instant the one with the newest
	// EffectiveAt holds, and of several with the same the newest Version.
	EffectiveAt time.Time
	At          time.Time
	By, Reason  string
}

// Actor is who does something that is kept in the audit trail.
type Actor struct {
	// Name is that of a token, or of the account on the command line.
	Name string
	// Reason is why, in the actor's own words; it may be empty.
	Reason string
}

// AuditEntry is one act of a person. Entries are only ever appended, and each carries the hash of the one before it, so
// that a change of the past is noticed.
type AuditEntry struct {
	ID int64
	At time.Time
	By string
	// Action is a verb and what it is done to, such as "policy changed"; Subject names the thing.
	Action, Subject string
	// Before and After are JSON, empty where there was or is nothing.
	Before, After  string
	Reason         string
	Previous, Hash []byte
}

// ErrConflict means that somebody else changed the same thing meanwhile.
var ErrConflict = errors.New("changed by somebody else meanwhile")

// SettingChange is a new version that somebody wants.
type SettingChange struct {
	Kind SettingKind
	Key  string
	// Value is the whole new value; nil removes the setting.
	Value json.RawMessage
	// EffectiveAt is when it comes into force; zero: now. It may not lie in the past.
	EffectiveAt time.Time
	// Version is the one that the change was made from: with another one in the store the change is refused with
	// ErrConflict. Nil does not look.
	Version *int64
}

// settingRules is what the engine knows of one kind of setting.
type settingRules struct {
	// sample is a zero value of the struct that a value is read into; its JSON names are the columns of a file.
	sample any
	// parse reads a value strictly and says which field is wrong. What it returns is kept and must not be changed.
	parse func(known isChannel, key string, value json.RawMessage) (any, error)
	// canonical is the one way to write a key; nil where every key is written in one way only.
	canonical func(key string) string
	// touches tells which SKUs must be planned anew when the setting changes; everything of a connection where it names
	// one, and everything there is where all is true.
	touches func(key string) Touch
	// reaches is what touches cannot tell by the key alone; nil: nothing.
	reaches func(value json.RawMessage) Touch
	// renamed is the key and the value once a SKU has another name; false where the setting is not about that SKU. nil: no
	// setting of the kind moves with an article.
	renamed func(key string, value json.RawMessage, from, to stock.SKU) (string, json.RawMessage, bool)
}

// isChannel says whether a channel may be named. Whoever writes a setting may only name those that are configured; what was
// decided holds on, also when a channel that it names has gone from the configuration.
type isChannel func(stock.ConnectionID) bool

func anyChannel(stock.ConnectionID) bool { return true }

func (e *Engine) isChannel(id stock.ConnectionID) bool { return e.channels[id] != nil }

// canonicalKey is the one way to write the key of a setting.
func canonicalKey(kind SettingKind, key string) string {
	if rules := settingKinds[kind]; rules.canonical != nil {
		return rules.canonical(key)
	}
	return key
}

// ChangeSettings checks the changes, and stores all of them or none. Everything that depends on them is planned anew, at
// once or when they come into force. The errors are *stock.FieldError, ErrInvalid and ErrConflict, wrapped.
func (e *Engine) ChangeSettings(ctx context.Context, by Actor, changes []SettingChange) ([]SettingView, error) {
	now := time.Now().UTC()
	versions, err := e.settingVersions(by, changes, now)
	if err != nil {
		return nil, err
	}
	before, err := e.settingsNow(ctx)
	if err != nil {
		return nil, err
	}
	touches := touchesOf(changes, before)
	stored, err := e.store.ChangeSettings(ctx, versions, touches, func(tx PlanTx) error {
		if err := e.checkSettings(tx, versions); err != nil {
			return err
		}
		return e.touchServices(tx, changes, touches)
	})
	if err != nil {
		return nil, fmt.Errorf("change settings: %w", err)
	}
	if _, err := e.campaignPass(ctx); err != nil {
		e.log.Warn("the change is stored; its campaigns are settled later", "error", err)
	}
	e.measureChanged(ctx, changes)
	e.wakeApply.send()
	e.wakePlan.send()
	views := make([]SettingView, len(stored))
	for i, s := range stored {
		views[i] = settingView(s)
	}
	return views, nil
}

// checkSettings refuses versions that make sense alone and not with what is there. It runs before they are stored.
func (e *Engine) checkSettings(tx PlanTx, versions []NewSetting) error {
	if err := e.checkOversell(tx, versions); err != nil {
		return err
	}
	if err := e.checkResources(tx, versions); err != nil {
		return err
	}
	if err := e.checkNotices(versions); err != nil {
		return err
	}
	return e.checkCampaigns(tx, versions)
}

// settingVersions turns wishes into versions, each checked.
func (e *Engine) settingVersions(by Actor, changes []SettingChange, now time.Time) ([]NewSetting, error) {
	versions := make([]NewSetting, len(changes))
	seen := make(map[string]bool, len(changes))
	for i, c := range changes {
		rules, ok := settingKinds[c.Kind]
		if !ok {
			return nil, fmt.Errorf("%w: there are no settings of kind %q; there are: %v", ErrInvalid, c.Kind, SettingKinds())
		}
		c.Key = canonicalKey(c.Kind, c.Key)
		name := string(c.Kind) + " " + c.Key
		if seen[name] {
			return nil, fmt.Errorf("%w: %s stands twice in one change", ErrInvalid, name)
		}
		seen[name] = true
		at := c.EffectiveAt.UTC()
		if at.IsZero() {
			at = now
		}
		if at.Before(now) {
			return nil, fmt.Errorf("%s %s: %w", c.Kind, c.Key, &stock.FieldError{Field: "effective_at", Reason: "lies in the past: what was published then cannot be changed any more"})
		}
		value, err := compact(c.Value)
		if err == nil && value != nil {
			_, err = rules.parse(e.isChannel, c.Key, value)
		}
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", c.Kind, c.Key, err)
		}
		versions[i] = NewSetting{Setting: Setting{Kind: c.Kind, Key: c.Key, Value: value, EffectiveAt: at, At: now, By: by.Name, Reason: by.Reason}, From: c.Version}
	}
	return versions, nil
}

// compact writes a JSON object without white space, so that equal values are equal texts.
func compact(value json.RawMessage) (json.RawMessage, error) {
	if len(value) == 0 || string(value) == "null" {
		return nil, nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil {
		return nil, fmt.Errorf("%w: the value is not JSON: %w", ErrInvalid, err)
	}
	return b.Bytes(), nil
}

// touchesOf tells what changes touch, by what they are and by what was decided before.
func touchesOf(changes []SettingChange, before *decisions) []Touch {
	touches := make([]Touch, len(changes))
	for i, c := range changes {
		rules := settingKinds[c.Kind]
		touches[i] = rules.touches(c.Key)
		if rules.reaches != nil {
			touches[i].SKUs = append(touches[i].SKUs, rules.reaches(c.Value).SKUs...)
			touches[i].SKUs = append(touches[i].SKUs, rules.reaches(before.newest(c.Kind, canonicalKey(c.Kind, c.Key))).SKUs...)
		}
	}
	return touches
}

// PreviewSettings tells what each listing would show if the changes were made and in force now, and stores nothing. Only
// listings whose number or state would be another one are told, by key, after the one given and at most limit of them.
func (e *Engine) PreviewSettings(ctx context.Context, changes []SettingChange, from ListingKey, limit int) ([]PreviewView, error) {
	versions, err := e.settingVersions(Actor{}, changes, time.Now().UTC())
	if err != nil {
		return nil, err
	}
	out := []PreviewView{}
	err = e.store.View(ctx, func(tx PlanTx) error {
		if err := e.checkSettings(tx, versions); err != nil {
			return err
		}
		var skus []stock.SKU
		settings, err := e.decisions(tx)
		if err != nil {
			return err
		}
		touches := touchesOf(changes, settings)
		if err := e.touchServices(tx, changes, touches); err != nil {
			return err
		}
		for _, t := range touches {
			more, err := tx.Touched(t)
			if err != nil {
				return err
			}
			skus = append(skus, more...)
		}
		slices.Sort(skus)
		keys, err := tx.Dependents(slices.Compact(skus))
		if err != nil {
			return err
		}
		slices.SortFunc(keys, compareListingKeys)
		keys = slices.DeleteFunc(keys, func(k ListingKey) bool { return compareListingKeys(k, from) <= 0 })
		for batch := range slices.Chunk(keys, maxBatch) {
			if len(out) >= limit {
				break
			}
			p, err := e.loadPlan(tx, batch)
			if err != nil {
				return err
			}
			after := *p
			if after.settings, err = p.settings.with(e, versions); err != nil {
				return err
			}
			after.previewPools()
			if err := after.loadDemand(tx); err != nil {
				return err
			}
			for _, key := range batch {
				if e.channels[key.Connection] == nil {
					continue
				}
				before, then := p.target(key), after.target(key)
				releases := after.releasesFor(key, versions)
				if sameQuantity(before.quantity, then.quantity) && before.held == then.held && len(releases) == 0 {
					continue
				}
				out = append(out, PreviewView{Connection: key.Connection, Item: key.Item, Place: key.Place, Before: before.quantity, After: then.quantity,
					HeldBefore: before.held, HeldAfter: then.held, Steps: then.steps, Releases: releases})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("preview settings: %w", err)
	}
	return out[:min(len(out), limit)], nil
}

// PreviewView is what a change would do to a listing.
type PreviewView struct {
	Connection stock.ConnectionID `json:"connection"`
	Item       string             `json:"item"`
	Place      string             `json:"place,omitempty"`
	Before     *stock.Quantity    `json:"before" doc:"the target as things are; null where it cannot be computed"`
	After      *stock.Quantity    `json:"after" doc:"the target with the change"`
	HeldBefore string             `json:"held_before,omitempty"`
	HeldAfter  string             `json:"held_after,omitempty"`
	Steps      []stock.Step       `json:"steps" doc:"how the target with the change comes about"`
	Releases   []stock.Release    `json:"releases,omitempty" doc:"of a campaign from which the listing would sell: when how many units are opened for sale"`
}

// SettingChangeView is a change that was made, and how far it has come: saved, accepted by the channels, shown to buyers.
type SettingChangeView struct {
	SettingView
	State      string     `json:"state" enum:"saved,accepted,shown" doc:"shown: every listing whose number it changes was read back with a number from after it"`
	AcceptedAt *time.Time `json:"accepted_at" doc:"when the last channel had taken it"`
	ShownAt    *time.Time `json:"shown_at" doc:"when the last listing was read back"`
	AcceptedMS *int64     `json:"accepted_ms" doc:"from saved to accepted, in milliseconds"`
	ShownMS    *int64     `json:"shown_ms" doc:"from saved to shown, in milliseconds"`
	Touched    int        `json:"listings_touched"`
	Changed    int        `json:"listings_changed"`
	Accepted   int        `json:"listings_accepted"`
	Shown      int        `json:"listings_shown"`
}

// SettingChange tells how far a version of a setting has come. A listing whose number stays as it is counts as shown.
// ErrNotFound when there is none.
func (e *Engine) SettingChange(ctx context.Context, id int64) (SettingChangeView, error) {
	s, progress, err := e.store.SettingByID(ctx, id)
	if err != nil {
		return SettingChangeView{}, fmt.Errorf("change %d: %w", id, err)
	}
	v := SettingChangeView{SettingView: settingView(s), State: "saved", Touched: progress.Touched, Changed: progress.Changed, Accepted: progress.Accepted, Shown: progress.Shown}
	accepted, shown := later(s.EffectiveAt, progress.AcceptedAt), later(s.EffectiveAt, progress.ShownAt)
	if progress.Planning || time.Now().Before(s.EffectiveAt) {
		return v, nil
	}
	took := func(at time.Time) (*time.Time, *int64) {
		ms := at.Sub(s.EffectiveAt).Milliseconds()
		return optionalTime(at), &ms
	}
	if v.Accepted == v.Changed || v.Shown == v.Changed {
		v.State = "accepted"
		v.AcceptedAt, v.AcceptedMS = took(accepted)
	}
	if v.Shown == v.Changed {
		v.State = "shown"
		v.ShownAt, v.ShownMS = took(shown)
	}
	return v, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// decisions are all versions of all settings, so that what is in force at an instant costs no question to the store.
// Versions are only ever added. It is safe for concurrent use.
type decisions struct {
	mu     sync.Mutex
	last   int64
	values map[SettingKind]map[string][]decision
}

// decision is a version with its value read; nil where the setting is removed.
type decision struct {
	Setting
	value any
}

// decisions brings the engine's copy of the settings up to what the transaction sees.
func (e *Engine) decisions(tx interface {
	SettingsSince(id int64) ([]Setting, error)
}) (*decisions, error) {
	d := &e.settings
	d.mu.Lock()
	last := d.last
	d.mu.Unlock()
	versions, err := tx.SettingsSince(last) // without the lock: a transaction may have to wait
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range versions {
		if v.ID <= d.last {
			continue // somebody else has read it meanwhile
		}
		var value any
		if rules, ok := settingKinds[v.Kind]; ok && v.Value != nil {
			if value, err = rules.parse(anyChannel, v.Key, v.Value); err != nil {
				// It was in order when it was stored: another version of truestock wrote it.
				e.log.Error("setting left out", "kind", v.Kind, "setting", v.Key, "error", err)
			}
		}
		d.add(decision{v, value})
	}
	return d, nil
}

// settingsNow brings the engine's copy of the settings up to date.
func (e *Engine) settingsNow(ctx context.Context) (d *decisions, err error) {
	err = e.store.View(ctx, func(tx PlanTx) error {
		d, err = e.decisions(tx)
		return err
	})
	return d, err
}

func (d *decisions) add(v decision) {
	if d.values == nil {
		d.values = make(map[SettingKind]map[string][]decision)
	}
	if d.values[v.Kind] == nil {
		d.values[v.Kind] = make(map[string][]decision)
	}
	all := append(d.values[v.Kind][v.Key], v)
	slices.SortStableFunc(all, func(a, b decision) int { return a.EffectiveAt.Compare(b.EffectiveAt) })
	d.values[v.Kind][v.Key] = all
	d.last = max(d.last, v.ID)
}

// with is a copy in which further versions are in force that are not stored: for previews.
func (d *decisions) with(e *Engine, more []NewSetting) (*decisions, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &decisions{last: d.last, values: make(map[SettingKind]map[string][]decision)}
	for kind, keys := range d.values {
		c.values[kind] = make(map[string][]decision, len(keys))
		for key, versions := range keys {
			c.values[kind][key] = slices.Clone(versions)
		}
	}
	for _, v := range more {
		var value any
		if v.Value != nil {
			var err error
			if value, err = settingKinds[v.Kind].parse(anyChannel, v.Key, v.Value); err != nil {
				return nil, err
			}
		}
		v.EffectiveAt = v.At
		c.add(decision{v.Setting, value})
	}
	return c, nil
}

// any reports whether there is, or ever was, a setting of the kind.
func (d *decisions) any(kind SettingKind) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.values[kind]) > 0
}

// since are the versions of a setting that hold at an instant or come into force after it, in that order.
func (d *decisions) since(kind SettingKind, key string, at time.Time) []Setting {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Setting
	for _, v := range slices.Backward(d.values[kind][key]) {
		if n := len(out); n > 0 && out[n-1].EffectiveAt.Equal(v.EffectiveAt) {
			continue // of several that come into force together the newest holds
		}
		out = append(out, v.Setting)
		if !v.EffectiveAt.After(at) {
			break
		}
	}
	slices.Reverse(out)
	return out
}

// changedAt is when the setting last changed until an instant; zero when it never did.
func (d *decisions) changedAt(kind SettingKind, key string, at time.Time) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range slices.Backward(d.values[kind][key]) {
		if !v.EffectiveAt.After(at) {
			return v.EffectiveAt
		}
	}
	return time.Time{}
}

// newest is the value of the newest version of a setting as it was written; nil where there is none.
func (d *decisions) newest(kind SettingKind, key string) json.RawMessage {
	d.mu.Lock()
	defer d.mu.Unlock()
	var last Setting
	for _, v := range d.values[kind][key] {
		if v.Version > last.Version {
			last = v.Setting
		}
	}
	return last.Value
}

// inForce is the value of a setting at an instant; nil where there is none.
func (d *decisions) inForce(kind SettingKind, key string, at time.Time) any {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range slices.Backward(d.values[kind][key]) {
		if !v.EffectiveAt.After(at) {
			return v.value
		}
	}
	return nil
}

// SettingKinds lists the kinds of settings that there are.
func SettingKinds() []SettingKind { return slices.Sorted(maps.Keys(settingKinds)) }

// Settings lists the settings of a kind as they will be once every version is in force: the newest version of each, by
// key. Removed ones are left out.
func (e *Engine) Settings(ctx context.Context, kind SettingKind, after string, limit int) ([]SettingView, error) {
	if _, ok := settingKinds[kind]; !ok {
		return nil, fmt.Errorf("settings of kind %q: %w", kind, ErrNotFound)
	}
	rows, err := e.store.ListSettings(ctx, kind, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list settings: %w", err)
	}
	views := make([]SettingView, len(rows))
	for i, s := range rows {
		views[i] = settingView(s)
	}
	return views, nil
}

// SettingVersions lists every version of a setting, the newest first. ErrNotFound when there never was one.
func (e *Engine) SettingVersions(ctx context.Context, kind SettingKind, key string) ([]SettingView, error) {
	rows, err := e.store.SettingVersions(ctx, kind, canonicalKey(kind, key))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, key, err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s %s: %w", kind, key, ErrNotFound)
	}
	views := make([]SettingView, len(rows))
	for i, s := range rows {
		views[i] = settingView(s)
	}
	return views, nil
}

// SettingView is a version of a setting as people and tools see it. Value is null where the setting was removed.
type SettingView struct {
	ID          string          `json:"id"`
	Kind        SettingKind     `json:"kind"`
	Key         string          `json:"key"`
	Version     int64           `json:"version"`
	Value       json.RawMessage `json:"value"`
	EffectiveAt time.Time       `json:"effective_at"`
	At          time.Time       `json:"at"`
	By          string          `json:"by"`
	Reason      string          `json:"reason,omitempty"`
}

func settingView(s Setting) SettingView {
	return SettingView{ID: eventReference(s.ID), Kind: s.Kind, Key: s.Key, Version: s.Version, Value: s.Value, EffectiveAt: s.EffectiveAt.UTC(),
		At: s.At.UTC(), By: s.By, Reason: s.Reason}
}

// Audit lists what people did, by id, after the one given. An empty subject means any.
func (e *Engine) Audit(ctx context.Context, subject string, after int64, limit int) ([]AuditView, error) {
	rows, err := e.store.AuditTrail(ctx, subject, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list the audit trail: %w", err)
	}
	views := make([]AuditView, len(rows))
	for i, a := range rows {
		views[i] = AuditView{ID: eventReference(a.ID), At: a.At.UTC(), By: a.By, Action: a.Action, Subject: a.Subject, Before: rawJSON(a.Before), After: rawJSON(a.After), Reason: a.Reason}
	}
	return views, nil
}

// AuditView is an entry of the audit trail as people and tools see it.
type AuditView struct {
	ID      string          `json:"id"`
	At      time.Time       `json:"at"`
	By      string          `json:"by"`
	Action  string          `json:"action"`
	Subject string          `json:"subject"`
	Before  json.RawMessage `json:"before"`
	After   json.RawMessage `json:"after"`
	Reason  string          `json:"reason,omitempty"`
}

func rawJSON(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}

// --- the keys of policies -------------------------------------------------------------------------------------------

// PolicyKey names the policy for what it applies to: everything, a channel, a SKU, or a listing. The most particular
// policy that sets a field decides it: listing, SKU, channel, all.
type PolicyKey struct {
	SKU     stock.SKU
	Channel stock.ConnectionID
	Ref     connectors.Ref // with Channel: a listing
}

// String writes the key: "all", "channel:shop", "sku:TEE-RED", "listing:shop:TEE" or "listing:shop:TEE:place". In a name,
// a colon is written %3A and a percent sign %25.
func (k PolicyKey) String() string {
	switch {
	case k.SKU != "":
		return joinKey("sku", string(k.SKU))
	case k.Ref.Place != "":
		return joinKey("listing", string(k.Channel), k.Ref.Item, k.Ref.Place)
	case k.Ref.Item != "":
		return joinKey("listing", string(k.Channel), k.Ref.Item)
	case k.Channel != "":
		return joinKey("channel", string(k.Channel))
	default:
		return "all"
	}
}

func joinKey(parts ...string) string {
	for i, p := range parts {
		parts[i] = keyEscapes.Replace(p)
	}
	return strings.Join(parts, ":")
}

var keyEscapes = strings.NewReplacer("%", "%25", ":", "%3A")

// ParsePolicyKey reads what String writes.
func ParsePolicyKey(text string) (PolicyKey, error) {
	parts := strings.Split(text, ":")
	for i, p := range parts {
		plain, err := url.PathUnescape(p)
		if err != nil || plain == "" {
			return PolicyKey{}, errPolicyKey
		}
		parts[i] = plain
	}
	switch {
	case text == "all":
		return PolicyKey{}, nil
	case parts[0] == "channel" && len(parts) == 2:
		return PolicyKey{Channel: stock.ConnectionID(parts[1])}, nil
	case parts[0] == "sku" && len(parts) == 2:
		return PolicyKey{SKU: stock.SKU(parts[1])}, nil
	case parts[0] == "listing" && len(parts) == 3:
		return PolicyKey{Channel: stock.ConnectionID(parts[1]), Ref: connectors.Ref{Item: parts[2]}}, nil
	case parts[0] == "listing" && len(parts) == 4:
		return PolicyKey{Channel: stock.ConnectionID(parts[1]), Ref: connectors.Ref{Item: parts[2], Place: parts[3]}}, nil
	default:
		return PolicyKey{}, errPolicyKey
	}
}

var errPolicyKey = &stock.FieldError{Field: "key", Reason: "is not the name of a policy: write all, channel:NAME, sku:SKU, listing:CHANNEL:ITEM or listing:CHANNEL:ITEM:PLACE, with a colon in a name as %3A"}

// act is the entry for what somebody did to a thing; before and after are written as JSON, and nil means nothing.
func act(at time.Time, by, action, subject string, before, after any) AuditEntry {
	text := func(v any) string {
		if v == nil {
			return ""
		}
		b, err := json.Marshal(v)
		if err != nil {
			panic(fmt.Sprintf("an entry of the audit trail cannot be written: %v", err)) // only a bug leads here: all callers give plain values
		}
		return string(b)
	}
	return AuditEntry{At: at, By: by, Action: action, Subject: subject, Before: text(before), After: text(after)}
}

// AuditHash is the hash of an entry in the audit trail: SHA-256 over the hash before it and the entry's fields, each
// written with its length.
func AuditHash(a AuditEntry) []byte {
	h := slices.Clone(a.Previous)
	for _, text := range []string{a.At.UTC().Format(time.RFC3339Nano), a.By, a.Action, a.Subject, a.Before, a.After, a.Reason} {
		h = binary.AppendUvarint(h, uint64(len(text)))
		h = append(h, text...)
	}
	sum := sha256.Sum256(h)
	return sum[:]
}
