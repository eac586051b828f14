package store

import (
	"context"
	"time"

	stocksync "github.com/truestock/truestock/sync"
)

var saveVersions = table{"versions", join(texts("subject", "key"), numbers("at")), texts("value")}.upsert()

func (t *txn) saveVersions(versions []stocksync.Version) error {
	rows := make([][]any, len(versions))
	for i, v := range versions {
		rows[i] = []any{v.Subject, v.Key, nanos(v.At), v.Value}
	}
	_, err := t.exec(saveVersions, rows)
	return err
}

// SaveVersions keeps what is in force from now on.
func (s *Store) SaveVersions(ctx context.Context, versions []stocksync.Version) error {
	return s.change(ctx, "keep versions", func(t *txn) error { return t.saveVersions(versions) })
}

// VersionsAt reads what was in force at an instant.
func (s *Store) VersionsAt(ctx context.Context, subject string, at time.Time) (map[string]string, error) {
	found := make(map[string]string)
	err := s.rows(ctx, func(r row) error {
		if value := r.text(1); value != "" {
			found[r.text(0)] = value
		}
		return nil
	}, `SELECT key, value FROM versions WHERE subject = ? AND at =
		(SELECT max(at) FROM versions AS v WHERE v.subject = versions.subject AND v.key = versions.key AND v.at <= ?)`, cleanText(subject), nanos(at))
	return found, during("load versions", err)
}
