package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// setting is a row of the table settings. An empty value is a setting that was removed.
type setting struct {
	ID          int64 `gorm:"primaryKey"`
	Kind        string
	Key         string
	Version     int64
	Value       string
	EffectiveAt int64
	At          int64
	By          string
	Reason      string
}

func (setting) TableName() string { return "settings" }

func (s setting) setting() stocksync.Setting {
	out := stocksync.Setting{
		ID: s.ID, Kind: stocksync.SettingKind(s.Kind), Key: s.Key, Version: s.Version, EffectiveAt: instant(s.EffectiveAt), At: instant(s.At), By: s.By, Reason: s.Reason,
	}
	if s.Value != "" {
		out.Value = json.RawMessage(s.Value)
	}
	return out
}

// auditEntry is a row of the table audit.
type auditEntry struct {
	ID             int64 `gorm:"primaryKey"`
	At             int64
	By             string
	Action         string
	Subject        string
	Before         string
	After          string
	Reason         string
	Previous, Hash []byte
}

func (auditEntry) TableName() string { return "audit" }

func (a auditEntry) entry() stocksync.AuditEntry {
	return stocksync.AuditEntry{
		ID: a.ID, At: instant(a.At), By: a.By, Action: a.Action, Subject: a.Subject, Before: a.Before, After: a.After, Reason: a.Reason,
		Previous: a.Previous, Hash: a.Hash,
	}
}

var addDirtyLater = bulk(2, join(numbers("at"), texts("sku")), "INSERT INTO dirty_later (at, sku) {VALUES v.at, v.sku} ON CONFLICT (at, sku) DO NOTHING")

// ChangeSettings stores new versions.
func (s *Store) ChangeSettings(ctx context.Context, versions []stocksync.NewSetting, touches []stocksync.Touch, check func(tx stocksync.PlanTx) error) ([]stocksync.Setting, error) {
	stored := make([]stocksync.Setting, len(versions))
	err := s.change(ctx, "store settings", func(t *txn) error {
		if err := t.serializeAudit(); err != nil {
			return err
		}
		if check != nil {
			if err := check(planTx{t, nil}); err != nil {
				return err
			}
		}
		var now []stock.SKU
		var later [][]any
		for i, v := range versions {
			var err error
			if stored[i], err = t.addSetting(v); err != nil {
				return err
			}
			skus, err := t.touch(touches[i], stored[i])
			if err != nil {
				return err
			}
			for _, sku := range skus {
				later = append(later, []any{nanos(stored[i].EffectiveAt), string(sku)})
			}
			if !stored[i].EffectiveAt.After(stored[i].At) {
				now = append(now, skus...)
			}
		}
		// Marked at once and again at its instant: the clock of who plans may be behind the clock of who decided.
		if _, err := t.exec(addDirtyLater, later); err != nil {
			return err
		}
		slices.Sort(now)
		return t.markDirty(slices.Compact(now), nil)
	})
	if err != nil {
		return nil, err
	}
	return stored, nil
}

func (t *txn) addSetting(v stocksync.NewSetting) (stocksync.Setting, error) {
	var before []setting
	err := t.g.Where("kind = ? AND key = ?", string(v.Kind), v.Key).Order("version DESC").Limit(1).Find(&before).Error
	if err != nil {
		return stocksync.Setting{}, err
	}
	var last setting
	if len(before) > 0 {
		last = before[0]
	}
	if v.From != nil && *v.From != last.Version {
		return stocksync.Setting{}, fmt.Errorf("%s %s has version %d, and the change was made from %d: %w", v.Kind, v.Key, last.Version, *v.From, stocksync.ErrConflict)
	}
	if len(v.Value) == 0 && last.Value == "" {
		return stocksync.Setting{}, fmt.Errorf("%s %s: %w", v.Kind, v.Key, stocksync.ErrNotFound)
	}
	row := setting{
		Kind: string(v.Kind), Key: cleanText(v.Key), Version: last.Version + 1, Value: cleanText(string(v.Value)), EffectiveAt: nanos(v.EffectiveAt), At: nanos(v.At),
		By: cleanText(v.By), Reason: cleanText(v.Reason),
	}
	if err := t.g.Create(&row).Error; err != nil {
		return stocksync.Setting{}, err
	}
	action := row.Kind + " changed"
	switch {
	case row.Value == "":
		action = row.Kind + " removed"
	case last.Value == "":
		action = row.Kind + " set"
	}
	return row.setting(), t.addAudit(stocksync.AuditEntry{
		At: v.At, By: row.By, Action: action, Subject: row.Kind + " " + row.Key, Before: last.Value, After: row.Value, Reason: row.Reason,
	})
}

// touch finds the SKUs that a setting touches, and notes their listings as they are.
func (t *txn) touch(touched stocksync.Touch, stored stocksync.Setting) ([]stock.SKU, error) {
	skus, err := t.Touched(touched)
	if err != nil {
		return nil, err
	}
	noted := make([][]any, len(skus))
	for i, sku := range skus {
		noted[i] = []any{stored.ID, string(sku)}
	}
	_, err = t.exec(noteSettingListings, noted)
	return skus, err
}

// Touched are the SKUs that are to be planned anew, sorted.
func (t *txn) Touched(touched stocksync.Touch) ([]stock.SKU, error) {
	found := make(map[stock.SKU]bool, len(touched.SKUs))
	for _, sku := range touched.SKUs {
		found[sku] = true
	}
	collect := func(r row) error { found[stock.SKU(r.text(0))] = true; return nil }
	err := t.query(findListingSKUs, listingRows(touched.Listings), collect)
	switch {
	case err != nil:
	case touched.All:
		err = t.rows(collect, "SELECT DISTINCT sku FROM components")
	case touched.Connection != "":
		err = t.rows(collect, "SELECT DISTINCT sku FROM components WHERE connection = ?", string(touched.Connection))
	}
	return order(found, cmp.Compare[stock.SKU]), during("find what a setting touches", err)
}

var noteSettingListings = bulk(2, join(numbers("setting"), texts("sku")), `INSERT INTO setting_listings (setting, connection, item, place, generation)
	SELECT DISTINCT v.setting, listings.connection, listings.item, listings.place, listings.generation
	FROM components JOIN listings ON listings.connection = components.connection AND listings.item = components.item AND listings.place = components.place
	{,} WHERE components.sku = v.sku ON CONFLICT (setting, connection, item, place) DO NOTHING`)

var findListingSKUs = bulk(3, listingColumns, "SELECT components.sku FROM components{,} WHERE "+componentsTable.matches(listingColumns))

// Ripen marks SKUs dirty whose time has come.
func (s *Store) Ripen(ctx context.Context, now time.Time) (next time.Time, err error) {
	var first int64
	look := func() error {
		return s.read.WithContext(ctx).Raw("SELECT coalesce(min(at), 0) FROM dirty_later").Scan(&first).Error
	}
	if err := look(); err != nil || first == 0 || first > nanos(now) {
		return instant(first), during("look for what is to be planned later", err)
	}
	err = s.change(ctx, "plan what the time has come for", func(t *txn) error {
		var skus []stock.SKU
		err := t.rows(func(r row) error {
			skus = append(skus, stock.SKU(r.text(0)))
			return nil
		}, "DELETE FROM dirty_later WHERE at <= ? RETURNING sku", nanos(now))
		if err != nil {
			return err
		}
		slices.Sort(skus)
		return t.markDirty(slices.Compact(skus), nil)
	})
	if err != nil {
		return time.Time{}, err
	}
	err = look()
	return instant(first), during("look for what is to be planned later", err)
}

// SettingsSince lists the versions that were stored after one, by id. ChangeSettings lets one transaction at a time store
// versions, so that none with a lower id shows later.
func (t *txn) SettingsSince(id int64) ([]stocksync.Setting, error) {
	var found []stocksync.Setting
	err := t.rows(func(r row) error {
		found = append(found, setting{
			ID: r.number(0), Kind: r.text(1), Key: r.text(2), Version: r.number(3), Value: r.text(4), EffectiveAt: r.number(5), At: r.number(6), By: r.text(7), Reason: r.text(8),
		}.setting())
		return nil
	}, "SELECT id, kind, key, version, value, effective_at, at, by, reason FROM settings WHERE id > ? ORDER BY id", id)
	return found, during("load settings", err)
}

// ListSettings lists the newest version of each setting of a kind.
func (s *Store) ListSettings(ctx context.Context, kind stocksync.SettingKind, after string, limit int) ([]stocksync.Setting, error) {
	var rows []setting
	err := s.read.WithContext(ctx).Raw(`SELECT * FROM settings WHERE kind = ? AND key > ? AND value <> '' AND version =
		(SELECT max(version) FROM settings AS all_versions WHERE all_versions.kind = settings.kind AND all_versions.key = settings.key)
		ORDER BY key LIMIT ?`, string(kind), after, limit).Scan(&rows).Error
	return settingsOf(rows), during("list settings", err)
}

// SettingVersions lists every version of a setting.
func (s *Store) SettingVersions(ctx context.Context, kind stocksync.SettingKind, key string) ([]stocksync.Setting, error) {
	var rows []setting
	err := s.read.WithContext(ctx).Where("kind = ? AND key = ?", string(kind), key).Order("version DESC").Find(&rows).Error
	return settingsOf(rows), during("list the versions of a setting", err)
}

func settingsOf(rows []setting) []stocksync.Setting {
	out := make([]stocksync.Setting, len(rows))
	for i, r := range rows {
		out[i] = r.setting()
	}
	return out
}

// SettingByID loads a version with what became of it.
func (s *Store) SettingByID(ctx context.Context, id int64) (stocksync.Setting, stocksync.SettingProgress, error) {
	var found setting
	var p stocksync.SettingProgress
	err := s.look(ctx, fmt.Sprintf("load setting version %d", id), func(t *txn) error {
		if err := t.g.Take(&found, id).Error; err != nil {
			return err
		}
		if err := t.g.Raw(`SELECT EXISTS (SELECT 1 FROM setting_listings JOIN components ON components.connection = setting_listings.connection
			AND components.item = setting_listings.item AND components.place = setting_listings.place
			JOIN dirty ON dirty.sku = components.sku WHERE setting_listings.setting = ?)`, id).Scan(&p.Planning).Error; err != nil {
			return err
		}
		return t.rows(func(r row) error {
			p.Touched, p.Changed, p.Accepted, p.Shown = int(r.number(0)), int(r.number(1)), int(r.number(2)), int(r.number(3))
			p.AcceptedAt, p.ShownAt = r.time(4), r.time(5)
			return nil
		}, `SELECT count(*), count(CASE WHEN changed THEN 1 END), count(CASE WHEN changed AND accepted THEN 1 END), count(CASE WHEN changed AND shown THEN 1 END),
			coalesce(max(CASE WHEN changed AND accepted THEN published_at END), 0), coalesce(max(CASE WHEN changed AND shown THEN confirmed_at END), 0)
			FROM (SELECT listings.generation > setting_listings.generation AS changed, listings.published_generation > setting_listings.generation AS accepted,
			listings.confirmed_generation > setting_listings.generation AS shown, listings.published_at, listings.confirmed_at
			FROM setting_listings JOIN listings ON listings.connection = setting_listings.connection AND listings.item = setting_listings.item
			AND listings.place = setting_listings.place WHERE setting_listings.setting = ?) AS touched`, id)
	})
	return found.setting(), p, err
}

// AddAudit appends an entry to the audit trail.
func (s *Store) AddAudit(ctx context.Context, entry stocksync.AuditEntry) error {
	return s.act(ctx, "write the audit trail", []stocksync.AuditEntry{entry}, func(*txn) error { return nil })
}

// act is change for what a person does: the entries of the audit trail are stored with what fn does, or neither is.
func (s *Store) act(ctx context.Context, doing string, acts []stocksync.AuditEntry, fn func(t *txn) error) error {
	return s.change(ctx, doing, func(t *txn) error {
		if len(acts) > 0 {
			// Before any other lock, here as where settings are stored, so that no two wait for each other.
			if err := t.serializeAudit(); err != nil {
				return err
			}
		}
		if err := fn(t); err != nil {
			return err
		}
		for _, a := range acts {
			if err := t.addAudit(a); err != nil {
				return err
			}
		}
		return nil
	})
}

// serializeAudit lets one transaction at a time append to the chain of the audit trail; SQLite has one writer anyway.
func (t *txn) serializeAudit() error {
	if t.dialect == sqlite {
		return nil
	}
	return t.g.Exec("SELECT pg_advisory_xact_lock(?)", int64(auditLock)).Error
}

// addAudit needs serializeAudit first.
func (t *txn) addAudit(entry stocksync.AuditEntry) error {
	var last []auditEntry
	if err := t.g.Order("id DESC").Limit(1).Find(&last).Error; err != nil {
		return err
	}
	row := auditEntry{
		At: nanos(entry.At), By: cleanText(entry.By), Action: cleanText(entry.Action), Subject: cleanText(entry.Subject),
		Before: cleanText(entry.Before), After: cleanText(entry.After), Reason: cleanText(entry.Reason),
	}
	if len(last) > 0 {
		row.Previous = last[0].Hash
	}
	row.Hash = stocksync.AuditHash(row.entry())
	return t.g.Create(&row).Error
}

// AuditTrail lists entries of the audit trail.
func (s *Store) AuditTrail(ctx context.Context, subject string, after int64, limit int) ([]stocksync.AuditEntry, error) {
	q := s.read.WithContext(ctx).Where("id > ?", after).Order("id").Limit(limit)
	if subject != "" {
		q = q.Where("subject = ?", subject)
	}
	var rows []auditEntry
	if err := q.Find(&rows).Error; err != nil {
		return nil, during("list the audit trail", err)
	}
	entries := make([]stocksync.AuditEntry, len(rows))
	for i, r := range rows {
		entries[i] = r.entry()
	}
	return entries, nil
}
