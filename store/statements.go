package store

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
)

// statements are those that were prepared on each connection to SQLite, by their text, kept for the next transaction until
// the connection is closed. Whoever has a connection has its statements. PostgreSQL needs none of this: its driver keeps
// prepared statements by itself.
type statements struct {
	mu sync.Mutex
	of map[*sqlite3.Conn]map[string]*sqlite3.Stmt
}

// on returns what is kept for a connection.
func (c *statements) on(conn *sqlite3.Conn) map[string]*sqlite3.Stmt {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = make(map[*sqlite3.Conn]map[string]*sqlite3.Stmt)
	}
	if c.of[conn] == nil {
		c.of[conn] = make(map[string]*sqlite3.Stmt)
	}
	return c.of[conn]
}

// end closes the statements of a connection that is about to be closed, which it could not be with them.
func (c *statements) end(conn *sqlite3.Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, prepared := range c.of[conn] {
		_ = prepared.Close() // it reports the statement's last error once more
	}
	delete(c.of, conn)
	return nil
}

// loop runs a statement once per row.
func (t *txn) loop(s *statement, rows [][]any, each func(r row) error) (changed int64, err error) {
	err = t.direct(func(conn *sqlite3.Conn) error {
		stmt, err := t.prepare(conn, s.sqlite)
		if err != nil {
			return err
		}
		result := make(row, stmt.ColumnCount())
		var bound []any
		for _, r := range rows {
			if err := errors.Join(runOnce(stmt, r, bound, result, each), stmt.Reset()); err != nil {
				return errors.Join(err, stmt.ClearBindings())
			}
			bound = r
			changed += conn.Changes()
		}
		return stmt.ClearBindings()
	})
	return changed, err
}

// direct works on the transaction's SQLite connection itself: the way through database/sql costs as much again as the
// statement does.
func (t *txn) direct(work func(conn *sqlite3.Conn) error) error {
	err := t.conn.Raw(func(raw any) error {
		conn := raw.(driver.Conn).Raw()
		before := conn.SetInterrupt(t.ctx)
		defer conn.SetInterrupt(before)
		return work(conn)
	})
	if cause := t.ctx.Err(); err != nil && cause != nil {
		return cause
	}
	return err
}

// runOnce runs a statement. bound are the values that it has from its last run, nil when there was none: what is the same
// again stays as it is, which saves two copies of every text that a batch repeats in each row.
func runOnce(stmt *sqlite3.Stmt, values, bound []any, result row, each func(r row) error) error {
	for i, v := range values {
		if bound != nil && equal(v, bound[i]) {
			continue
		}
		if err := bind(stmt, i+1, v); err != nil {
			return err
		}
	}
	for stmt.Step() {
		clear(result) // else Columns writes into the bytes of the row before
		if err := stmt.Columns(result...); err != nil {
			return err
		}
		if each == nil {
			continue
		}
		if err := each(result); err != nil {
			return err
		}
	}
	return stmt.Err()
}

// equal tells whether two values are equal, as far as that is told without looking at bytes.
func equal(a, b any) bool {
	if _, bytes := a.([]byte); bytes {
		return false
	}
	return a == b
}

func bind(stmt *sqlite3.Stmt, i int, v any) error {
	switch v := v.(type) {
	case nil:
		return stmt.BindNull(i)
	case int:
		return stmt.BindInt(i, v)
	case int64:
		return stmt.BindInt64(i, v)
	case string:
		return stmt.BindText(i, v)
	case bool:
		return stmt.BindBool(i, v)
	case []byte:
		if v == nil {
			return stmt.BindNull(i)
		}
		return stmt.BindBlob(i, v)
	default:
		return fmt.Errorf("a statement was given a %T", v)
	}
}

// prepare returns the statement prepared on the transaction's connection.
func (t *txn) prepare(conn *sqlite3.Conn, query string) (*sqlite3.Stmt, error) {
	ready := t.store.statements.on(conn)
	if p := ready[query]; p != nil {
		return p, nil
	}
	p, _, err := conn.Prepare(query)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, err)
	}
	ready[query] = p
	return p, nil
}
