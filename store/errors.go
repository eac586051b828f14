package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/ncruces/go-sqlite3"
	"gorm.io/gorm"

	stocksync "github.com/truestock/truestock/sync"
)

// classify marks the errors that mean that the database cannot store or answer now, and those of missing rows.
func classify(err error) error {
	switch {
	case err == nil, errors.Is(err, stocksync.ErrUnavailable), errors.Is(err, stocksync.ErrNotFound):
		return err
	case errors.Is(err, gorm.ErrRecordNotFound):
		return stocksync.ErrNotFound
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, sqlite3.INTERRUPT):
		return fmt.Errorf("%w: %w", context.Canceled, err)
	case isUnavailable(err):
		return unavailable(err)
	default:
		return err
	}
}

func unavailable(cause error) error { return fmt.Errorf("%w: %w", stocksync.ErrUnavailable, cause) }

func isUnavailable(err error) bool {
	if code, ok := errors.AsType[sqlite3.ErrorCode](err); ok {
		return sqliteUnavailable(code)
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return postgresUnavailable(e)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	for _, known := range []error{sql.ErrConnDone, sql.ErrTxDone, driver.ErrBadConn, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed} {
		if errors.Is(err, known) {
			return true
		}
	}
	// database/sql and pgx have no value for a closed pool and a closed connection.
	text := err.Error()
	return strings.Contains(text, "sql: database is closed") || strings.Contains(text, "conn closed") ||
		strings.Contains(text, "conn busy")
}

// sqliteUnavailable knows the result codes of https://sqlite.org/rescode.html that concern the file, the disk or
// another process, and not the statement.
func sqliteUnavailable(code sqlite3.ErrorCode) bool {
	switch code {
	case sqlite3.FULL, sqlite3.IOERR, sqlite3.CANTOPEN, sqlite3.READONLY, sqlite3.BUSY, sqlite3.LOCKED, sqlite3.NOMEM,
		sqlite3.PERM, sqlite3.CORRUPT, sqlite3.NOTADB, sqlite3.PROTOCOL, sqlite3.AUTH:
		return true
	default:
		return false
	}
}

// postgresUnavailable knows the classes of https://www.postgresql.org/docs/current/errcodes-appendix.html: connection
// (08), transaction rolled back, a deadlock for one (40), resources (53), operator intervention (57), system error
// (58), read-only (25006), refused at the door (28, 3D).
func postgresUnavailable(e *pgconn.PgError) bool {
	for _, class := range []string{"08", "40", "53", "57", "58", "25006", "28", "3D"} {
		if strings.HasPrefix(e.Code, class) {
			return true
		}
	}
	return false
}
