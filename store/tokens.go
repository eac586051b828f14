package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"

	stocksync "github.com/truestock/truestock/sync"
)

// token is a row of the table tokens.
type token struct {
	ID        int64 `gorm:"primaryKey"`
	Name      string
	Scope     string
	Hash      []byte
	CreatedAt int64 `gorm:"autoCreateTime:false"`
	ExpiresAt int64
	RevokedAt int64
	UsedAt    int64
}

func (token) TableName() string { return "tokens" }

func (t token) token() stocksync.Token {
	return stocksync.Token{
		ID: t.ID, Name: t.Name, Scope: stocksync.Scope(t.Scope), Hash: t.Hash, CreatedAt: instant(t.CreatedAt),
		ExpiresAt: instant(t.ExpiresAt), RevokedAt: instant(t.RevokedAt), UsedAt: instant(t.UsedAt),
	}
}

// AddToken stores a token and returns its id.
func (s *Store) AddToken(ctx context.Context, t stocksync.Token, acts ...stocksync.AuditEntry) (int64, error) {
	row := token{
		Name: cleanText(t.Name), Scope: string(t.Scope), Hash: t.Hash, CreatedAt: nanos(t.CreatedAt), ExpiresAt: nanos(t.ExpiresAt),
		RevokedAt: nanos(t.RevokedAt), UsedAt: nanos(t.UsedAt),
	}
	acts = slices.Clone(acts)
	err := s.act(ctx, "store a token", acts, func(t *txn) error {
		err := t.g.Create(&row).Error
		for i := range acts {
			acts[i].Subject += fmt.Sprintf(" %d", row.ID)
		}
		return err
	})
	return row.ID, err
}

// TokenByHash finds a token, also one that has expired or was revoked.
func (s *Store) TokenByHash(ctx context.Context, hash []byte) (stocksync.Token, error) {
	var row token
	err := s.read.WithContext(ctx).Where("hash = ?", hash).Take(&row).Error
	return row.token(), during("look for a token", err)
}

// ListTokens lists all tokens by id.
func (s *Store) ListTokens(ctx context.Context) ([]stocksync.Token, error) {
	var rows []token
	if err := s.read.WithContext(ctx).Order("id").Find(&rows).Error; err != nil {
		return nil, during("list tokens", err)
	}
	tokens := make([]stocksync.Token, len(rows))
	for i, r := range rows {
		tokens[i] = r.token()
	}
	return tokens, nil
}

// RevokeToken revokes a token; the first revocation's instant stays.
func (s *Store) RevokeToken(ctx context.Context, id int64, at time.Time, acts ...stocksync.AuditEntry) error {
	return s.act(ctx, "revoke a token", acts, func(t *txn) error {
		return stampToken(t.g, id, "revoked_at", gorm.Expr("CASE WHEN revoked_at = 0 THEN ? ELSE revoked_at END", nanos(at)))
	})
}

// TouchToken notes that a token was used.
func (s *Store) TouchToken(ctx context.Context, id int64, at time.Time) error {
	return stampToken(s.write.WithContext(ctx), id, "used_at", nanos(at))
}

func stampToken(db *gorm.DB, id int64, column string, value any) error {
	stamped := db.Model(&token{}).Where("id = ?", id).Update(column, value)
	err := stamped.Error
	if err == nil && stamped.RowsAffected == 0 {
		err = stocksync.ErrNotFound
	}
	return during(fmt.Sprintf("update token %d", id), err)
}
