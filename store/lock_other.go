//go:build !unix

package store

import "errors"

func lockFile(string) (lock, error) {
	return nil, errors.New("lock the database: a SQLite file can be locked on Unix systems only; use PostgreSQL here")
}
