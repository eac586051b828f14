package sync

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// The keys of licences are kept by truestock itself, which is their system of record: it states how many there are, at a
// location of their own.
const (
	// OwnSource is the name under which truestock states how many keys it holds. No connection may have it.
	OwnSource stock.ConnectionID = "truestock"
	// KeysLocation is where keys are.
	KeysLocation stock.LocationID = "keys"
)

// Keys keeps the keys of licences.
type Keys interface {
	// AddKeys stores keys and the events that say how many there are now, all or none. Where some are stored already, it
	// stores nothing and returns their indexes. events gets the number of keys that are free or assigned, and a number that
	// grows with every change of it.
	AddKeys(ctx context.Context, sku stock.SKU, keys []NewKey, events func(count stock.Quantity, sequence int64) ([]NewEvent, error), act AuditEntry) (known []int, err error)
	// Keys lists keys by id, after the one given.
	Keys(ctx context.Context, sku stock.SKU, after int64, limit int) ([]HeldKey, error)
	// RevealKey gives open what is sealed, the first time; when open fails, the key counts as not revealed. ErrNotFound when
	// there is no such key, ErrInvalid when it is free, and ErrConflict when it was revealed before.
	RevealKey(ctx context.Context, id int64, at time.Time, open func(sealed []byte) error, act AuditEntry) error
	// KeysOfOtherSecrets counts the keys that were encrypted with another secret.
	KeysOfOtherSecrets(ctx context.Context, secret []byte) (int64, error)
	// RevokeKey takes a key out of use for ever. ErrNotFound when there is no such key, ErrConflict when it is revoked.
	RevokeKey(ctx context.Context, id int64, at time.Time, events func(sku stock.SKU, count stock.Quantity, sequence int64) ([]NewEvent, error), act AuditEntry) error
}

// NewKey is a key to be stored: encrypted, and a digest by which the same key is known again. Secret tells one secret from
// another, by which both were made; it tells nothing of the secret itself.
type NewKey struct {
	Sealed, Secret, Digest []byte
	At                     time.Time
}

// HeldKey is a stored key, without the key.
type HeldKey struct {
	ID  int64
	SKU stock.SKU
	// OrderKey, LineID and Unit are what the key is assigned to; empty while it is free.
	OrderKey
	LineID string
	Unit   stock.Quantity

	ImportedAt, AssignedAt, RevealedAt, RevokedAt time.Time
}

// KeyView is a key as people and tools see it: never the key itself.
type KeyView struct {
	ID         string             `json:"id"`
	SKU        stock.SKU          `json:"sku"`
	State      string             `json:"state" enum:"free,assigned,revealed,revoked"`
	Connection stock.ConnectionID `json:"connection,omitempty"`
	OrderID    string             `json:"order_id,omitempty"`
	LineID     string             `json:"line_id,omitempty"`
	Unit       stock.Quantity     `json:"unit,omitempty" doc:"which unit of the order line, from 1"`
	ImportedAt time.Time          `json:"imported_at"`
	AssignedAt *time.Time         `json:"assigned_at"`
	RevealedAt *time.Time         `json:"revealed_at"`
	RevokedAt  *time.Time         `json:"revoked_at"`
}

// vault encrypts keys with AES-256-GCM. What it is derived from is a secret of the configuration.
type vault struct {
	aead           cipher.AEAD
	secret, digest []byte
}

// leastKeySecret is the shortest secret that is taken.
const leastKeySecret = 16

func (e *Engine) vault() (*vault, error) {
	if len(e.keySecret) < leastKeySecret {
		return nil, fmt.Errorf("%w: keys are encrypted with a secret of at least %d characters, and there is none: set keys: {secret: file:/path} or keys: {secret: ${NAME}} in the configuration, and keep it as long as the keys", ErrInvalid, leastKeySecret)
	}
	derive := func(purpose string) []byte {
		h := hmac.New(sha256.New, e.keySecret)
		h.Write([]byte(purpose))
		return h.Sum(nil)
	}
	block, err := aes.NewCipher(derive("seal"))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &vault{aead, derive("secret"), derive("digest")}, err
}

// checkKeySecret refuses to run with another secret than the one that the stored keys were encrypted with: none of them
// could be revealed, and one that is imported again would not be known. Without a secret keys are sold on, and none is
// imported or revealed.
func (e *Engine) checkKeySecret(ctx context.Context) error {
	if len(e.keySecret) == 0 {
		return nil
	}
	v, err := e.vault()
	if err != nil {
		return err
	}
	n, err := e.store.KeysOfOtherSecrets(ctx, v.secret)
	if err == nil && n > 0 {
		err = fmt.Errorf("%w: keys.secret of the configuration is not the one that %d stored keys were encrypted with: put the old one back, or leave it out to run without importing and revealing keys", ErrInvalid, n)
	}
	return err
}

func (v *vault) seal(key string, at time.Time) NewKey {
	nonce := make([]byte, v.aead.NonceSize())
	_, _ = rand.Read(nonce) // it never fails
	h := hmac.New(sha256.New, v.digest)
	h.Write([]byte(key))
	return NewKey{Sealed: v.aead.Seal(nonce, nonce, []byte(key), nil), Secret: v.secret, Digest: h.Sum(nil), At: at}
}

func (v *vault) open(sealed []byte) (string, error) {
	n := v.aead.NonceSize()
	if len(sealed) < n {
		return "", errors.New("the stored key is cut off")
	}
	key, err := v.aead.Open(nil, sealed[:n], sealed[n:], nil)
	if err != nil {
		return "", errors.New("the key was encrypted with another secret: put the secret of that time into keys.secret of the configuration")
	}
	return string(key), nil
}

// ImportKeys stores the keys of a file, one a row in the column key. With an empty key or one that is there twice, in the
// file or since an earlier import, nothing is stored, and the view lists the lines; the error is then nil. No message contains a key.
func (e *Engine) ImportKeys(ctx context.Context, by Actor, sku stock.SKU, in io.Reader) (KeysImportView, error) {
	view := KeysImportView{SKU: sku, Errors: []RowErrorView{}}
	v, err := e.vault()
	if err != nil {
		return view, err
	}
	settings, err := e.settingsNow(ctx)
	if err != nil {
		return view, fmt.Errorf("import keys of %s: %w", sku, err)
	}
	if settings.article(sku, time.Now()).Kind != stock.Licence {
		return view, fmt.Errorf("%w: %s is not a licence: decide it with truestock settings set article %s kind=licence", ErrInvalid, sku, sku)
	}
	r := csv.NewReader(in)
	r.FieldsPerRecord = 1
	var keys []NewKey
	var lines []int
	seen := make(map[string]int)
	bad := func(line int, reason string) {
		view.Errors = append(view.Errors, RowErrorView{Line: line, Field: "key", Reason: reason})
	}
	now := time.Now().UTC()
	for first := true; ; first = false {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			line, reason := unreadable(err)
			bad(line, reason.Error())
			return view, nil
		}
		line, _ := r.FieldPos(0)
		key := strings.TrimSpace(strings.TrimPrefix(row[0], "\ufeff"))
		if first {
			if key != "key" {
				bad(1, "the first row must name the only column: key")
				return view, nil
			}
			continue
		}
		switch {
		case key == "":
			bad(line, "is empty")
		case seen[key] > 0:
			bad(line, fmt.Sprintf("is the same as in line %d", seen[key]))
		default:
			seen[key] = line
			keys, lines = append(keys, v.seal(key, now)), append(lines, line)
		}
		if len(keys) > maxSettingRows {
			bad(line, fmt.Sprintf("the file has more than %d keys: import it in parts", maxSettingRows))
			return view, nil
		}
	}
	if len(view.Errors) > 0 || len(keys) == 0 {
		return view, nil
	}
	known, err := e.store.AddKeys(ctx, sku, keys, func(count stock.Quantity, sequence int64) ([]NewEvent, error) {
		return keyEvents(sku, count, sequence)
	}, AuditEntry{At: now, By: by.Name, Action: "keys imported", Subject: "keys " + string(sku), After: fmt.Sprintf(`{"keys":%d}`, len(keys)), Reason: by.Reason})
	if err != nil {
		return view, fmt.Errorf("import keys of %s: %w", sku, err)
	}
	for _, i := range known {
		bad(lines[i], "was imported before")
	}
	if len(known) == 0 {
		view.Keys = len(keys)
		e.wakeApply.send()
	}
	return view, nil
}

// KeysImportView is the outcome of an import of keys.
type KeysImportView struct {
	SKU    stock.SKU      `json:"sku"`
	Keys   int            `json:"keys" doc:"how many were stored"`
	Errors []RowErrorView `json:"errors"`
}

// keyEvents state how many keys of a SKU there are.
func keyEvents(sku stock.SKU, count stock.Quantity, sequence int64) ([]NewEvent, error) {
	fact := connectors.Fact{Kind: connectors.StockLevel, Position: stock.Position{Sequenced: true, Sequence: sequence},
		Statement: &connectors.Statement{SKU: string(sku), Location: string(KeysLocation), Quantity: count}}
	return factEvents(OwnSource, [][]connectors.Fact{{fact}}, func(int) string { return fmt.Sprintf("keys:%d", sequence) })
}

// ListKeys lists the keys of a SKU by id, after the one given, without the keys themselves.
func (e *Engine) ListKeys(ctx context.Context, sku stock.SKU, after int64, limit int) ([]KeyView, error) {
	rows, err := e.store.Keys(ctx, sku, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list keys of %s: %w", sku, err)
	}
	views := make([]KeyView, len(rows))
	for i, k := range rows {
		views[i] = KeyView{ID: eventReference(k.ID), SKU: k.SKU, State: "free", Connection: k.Channel, OrderID: k.OrderID, LineID: k.LineID, Unit: k.Unit,
			ImportedAt: k.ImportedAt.UTC(), AssignedAt: optionalTime(k.AssignedAt), RevealedAt: optionalTime(k.RevealedAt), RevokedAt: optionalTime(k.RevokedAt)}
		switch {
		case !k.RevokedAt.IsZero():
			views[i].State = "revoked"
		case !k.RevealedAt.IsZero():
			views[i].State = "revealed"
		case k.Unit > 0:
			views[i].State = "assigned"
		}
	}
	return views, nil
}

// RevealKey hands out a key that is assigned to an order line, once; the audit trail keeps who took it.
func (e *Engine) RevealKey(ctx context.Context, by Actor, id int64) (string, error) {
	v, err := e.vault()
	if err != nil {
		return "", err
	}
	now := time.Now().UTC()
	var key string
	open := func(sealed []byte) (err error) {
		key, err = v.open(sealed)
		return err
	}
	err = e.store.RevealKey(ctx, id, now, open, AuditEntry{At: now, By: by.Name, Action: "key revealed", Subject: "key " + eventReference(id), Reason: by.Reason})
	if err != nil {
		return "", fmt.Errorf("reveal key %d: %w", id, err)
	}
	return key, nil
}

// RevokeKey takes a key out of use for ever. The order line that had it gets another, or waits for one.
func (e *Engine) RevokeKey(ctx context.Context, by Actor, id int64) error {
	now := time.Now().UTC()
	err := e.store.RevokeKey(ctx, id, now, keyEvents, AuditEntry{At: now, By: by.Name, Action: "key revoked", Subject: "key " + eventReference(id), Reason: by.Reason})
	if err != nil {
		return fmt.Errorf("revoke key %d: %w", id, err)
	}
	e.wakeApply.send()
	return nil
}

// KeyGrant gives a key to a unit of an order line, for ever.
type KeyGrant struct {
	ID int64
	OrderKey
	LineID string
	SKU    stock.SKU
	Unit   stock.Quantity
}

// grantKeys gives free keys to the lines of the batch, and to those that wait where keys came in: first come, first served. The
// units of a line that were cancelled after they had a key keep it, so it is missing from what truestock states.
func (b *book) grantKeys(tx LedgerTx) error {
	lines := make(map[stock.SKU]map[commitmentID]Sale)
	for id, s := range b.sales {
		if b.isLicence(id.sku) {
			if lines[id.sku] == nil {
				lines[id.sku] = make(map[commitmentID]Sale)
			}
			lines[id.sku][id] = s
		}
	}
	for sku := range b.refilled {
		if lines[sku] == nil {
			lines[sku] = make(map[commitmentID]Sale)
		}
	}
	for _, sku := range sortedKeys(lines, cmp.Compare[stock.SKU]) {
		if err := b.grantKeysOf(tx, sku, lines[sku]); err != nil {
			return err
		}
	}
	return nil
}

func (b *book) grantKeysOf(tx LedgerTx, sku stock.SKU, lines map[commitmentID]Sale) error {
	refill, refilled := b.refilled[sku]
	if refilled {
		waiting, err := tx.WaitingForKeys(sku)
		if err != nil {
			return err
		}
		for _, s := range waiting {
			if id := (commitmentID{s.OrderKey, s.LineID, s.SKU}); lines[id] == (Sale{}) {
				lines[id] = s
			}
		}
	}
	own := sortedKeys(lines, compareCommitments)
	asked := make([]Sale, 0, len(lines))
	var units stock.Quantity
	for _, s := range lines {
		asked = append(asked, s)
		units += s.Units
	}
	slices.SortFunc(asked, func(x, y Sale) int {
		return cmp.Or(x.At.Compare(y.At), compareOrderKeys(x.OrderKey, y.OrderKey), cmp.Compare(x.LineID, y.LineID))
	})
	grants, err := tx.KeyGrants(asked)
	if err != nil {
		return err
	}
	name := func(o OrderKey, line string) string { return joinKey(string(o.Channel), o.OrderID, line) }
	var held []stock.KeyGrant
	has := make(map[string]stock.Quantity)
	for _, g := range grants {
		line := name(g.OrderKey, g.LineID)
		held = append(held, stock.KeyGrant{Line: line, N: g.Unit, Key: g.ID})
		has[line]++
	}
	free, err := tx.FreeKeys(sku, int(min(units, maxSettingRows)))
	if err != nil {
		return err
	}
	byLine := make(map[string]Sale)
	var requests []stock.KeyRequest
	for _, s := range asked {
		line := name(s.OrderKey, s.LineID)
		byLine[line] = s
		requests = append(requests, stock.KeyRequest{Line: line, Quantity: s.Units})
	}
	granted, _ := stock.GrantKeys(free, held, requests)
	for _, g := range granted {
		s := byLine[g.Line]
		b.grants = append(b.grants, KeyGrant{ID: g.Key, OrderKey: s.OrderKey, LineID: s.LineID, SKU: sku, Unit: g.N})
	}
	names := make([]string, len(own))
	for i, id := range own {
		names[i] = strandedKey(id)
	}
	stranded, err := tx.Movements(OwnSource, names)
	if err != nil {
		return err
	}
	for _, m := range stranded {
		b.noteMovement(&m)
	}
	for i, id := range own {
		b.adjustMovement(OwnSource, names[i], LevelKey{sku, KeysLocation}, -max(0, has[name(id.OrderKey, id.lineID)]-lines[id].Units), stock.Position{})
		// Its cause is the order, or that keys came in or went.
		b.event = refill
		if told, ours := b.saleEvents[id]; ours {
			b.event = told
		}
		b.post(stock.CauseCommitment, mapping.OrderKey(id.Channel, id.OrderID))
	}
	return nil
}

func strandedKey(id commitmentID) string {
	return fmt.Sprintf("keys:%s/%s", mapping.OrderKey(id.Channel, id.OrderID), id.lineID)
}

// isLicence reports whether the keys of a SKU are kept here.
func (b *book) isLicence(sku stock.SKU) bool {
	return b.settings.article(sku, b.now).Kind == stock.Licence
}
