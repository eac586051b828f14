package store

import (
	"context"
	"time"

	"gorm.io/gorm/clause"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// bookmark is a row of the table bookmarks.
type bookmark struct {
	Connection string `gorm:"primaryKey"`
	Feed       string `gorm:"primaryKey"`
	Value      string
}

func (bookmark) TableName() string { return "bookmarks" }

// Bookmark tells how far a feed was read.
func (s *Store) Bookmark(ctx context.Context, connection stock.ConnectionID, feed string) (string, error) {
	var rows []bookmark
	err := s.read.WithContext(ctx).Where("connection = ? AND feed = ?", string(connection), feed).Find(&rows).Error
	if err != nil || len(rows) == 0 {
		return "", during("look for a bookmark", err)
	}
	return rows[0].Value, nil
}

// SetBookmark notes how far a feed was read.
func (s *Store) SetBookmark(ctx context.Context, connection stock.ConnectionID, feed, value string, acts ...stocksync.AuditEntry) error {
	return s.act(ctx, "set a bookmark", acts, func(t *txn) error {
		return t.g.Clauses(clause.OnConflict{UpdateAll: true}).Create(&bookmark{string(connection), feed, cleanText(value)}).Error
	})
}

// pause is a row of the table pauses.
type pause struct {
	Connection string `gorm:"primaryKey"`
	Reason     string
	At         int64
}

func (pause) TableName() string { return "pauses" }

// Pauses lists the paused connections.
func (s *Store) Pauses(ctx context.Context) (map[stock.ConnectionID]string, error) {
	var rows []pause
	if err := s.read.WithContext(ctx).Find(&rows).Error; err != nil {
		return nil, during("list pauses", err)
	}
	pauses := make(map[stock.ConnectionID]string, len(rows))
	for _, r := range rows {
		pauses[stock.ConnectionID(r.Connection)] = r.Reason
	}
	return pauses, nil
}

// SetPause pauses a connection, or resumes it.
func (s *Store) SetPause(ctx context.Context, connection stock.ConnectionID, reason string, at time.Time, incident *stocksync.Incident, acts ...stocksync.AuditEntry) error {
	doing := "pause "
	if reason == "" {
		doing = "resume "
	}
	return s.act(ctx, doing+string(connection), acts, func(t *txn) error {
		if reason == "" {
			if err := t.closeIncidents([]stocksync.Incident{{Kind: stocksync.IncidentPaused, Subject: string(connection)}}, at); err != nil {
				return err
			}
			return t.g.Where("connection = ?", string(connection)).Delete(&pause{}).Error
		}
		if incident != nil {
			if err := t.openIncidents([]stocksync.Incident{*incident}); err != nil {
				return err
			}
		}
		return t.g.Clauses(clause.OnConflict{UpdateAll: true}).Create(&pause{string(connection), cleanText(reason), nanos(at)}).Error
	})
}
