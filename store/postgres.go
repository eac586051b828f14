package store

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	gormpostgres "gorm.io/driver/postgres"
	"gorm.io/gorm"
)

const (
	postgresConnections = 16
	postgresIdle        = 5 * time.Minute
)

// The keys of the advisory locks, in a range of our own: the ASCII of "tstk" and a number.
const (
	serverLock  = 0x7473_746b_0000_0001 // Options.Exclusive, held by a session
	applyLock   = 0x7473_746b_0000_0002 // Apply, held by a transaction
	migrateLock = 0x7473_746b_0000_0003 // Migrate, held by a session
	runLockKey  = 0x7473_746b_0000_0004 // LockRuns, held by a session
	auditLock   = 0x7473_746b_0000_0005 // whoever appends to the audit trail, held by a transaction
	outboxLock  = 0x7473_746b_0000_0006 // whoever takes deliveries, held by a transaction
)

func openPostgres(ctx context.Context, url string, opts Options) (*Store, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		// The parser's error leaves the password out.
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "truestock"
	}
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(preferIndexes))
	connections := opts.Connections
	if connections < 1 {
		connections = postgresConnections
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(postgresIdle)
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("open the database: %w", classify(err))
	}
	var held lock
	if opts.Exclusive {
		session := &sessionLock{db: stdlib.OpenDB(*config), key: serverLock}
		if err := session.check(ctx); err != nil {
			_ = session.db.Close()
			_ = db.Close()
			return nil, err
		}
		held = session
	}
	s, err := start(postgres, db, db, held, opts, func(db *sql.DB) gorm.Dialector {
		return gormpostgres.New(gormpostgres.Config{Conn: db})
	})
	if err != nil {
		return s, err
	}
	s.lockRuns = func(ctx context.Context) (lock, error) {
		session := &sessionLock{db: stdlib.OpenDB(*config), key: runLockKey}
		if err := session.check(ctx); err != nil {
			_ = session.db.Close()
			return nil, err
		}
		return session, nil
	}
	return s, nil
}

// preferIndexes keeps the planner to indexes. Every statement of this package finds its rows by one, but the planner, which
// does not know how many rows it is given, or has not yet seen how much a table has grown, may choose to read a whole
// table instead: 800 ms were measured where 10 do.
func preferIndexes(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off")
	return err
}

// sessionLock is an advisory lock on a connection outside the pool. The server takes it back when the connection ends.
type sessionLock struct {
	db   *sql.DB
	key  int64
	mu   sync.Mutex
	conn *sql.Conn
}

// check takes the lock where it is not held, which is also what happens after the server was restarted.
func (l *sessionLock) check(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		if err := l.conn.PingContext(ctx); err == nil {
			return nil
		} else if ctx.Err() != nil {
			return ctx.Err()
		}
		_ = l.conn.Close()
		l.conn = nil
	}
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("lock the database: %w", classify(err))
	}
	var ours bool
	if err := conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", l.key).Scan(&ours); err != nil {
		_ = conn.Close()
		return fmt.Errorf("lock the database: %w", classify(err))
	}
	if !ours {
		holder := l.holder(ctx, conn)
		_ = conn.Close()
		return fmt.Errorf("%w: %s holds it; stop it, or give this one another database", ErrLocked, holder)
	}
	l.conn = conn
	return nil
}

// holder names the session that has the lock, as far as the server tells.
func (l *sessionLock) holder(ctx context.Context, conn *sql.Conn) string {
	const query = `SELECT 'the session with server process ' || a.pid || coalesce(' from ' || host(a.client_addr), ' on the same machine') ||
		', begun ' || to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC'
		FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND l.classid::bigint = $1 AND l.objid::bigint = $2`
	var holder sql.NullString
	err := conn.QueryRowContext(ctx, query, l.key>>32, l.key&0xffff_ffff).Scan(&holder)
	if err != nil || !holder.Valid {
		return "another session"
	}
	return holder.String
}

// release gives the lock back and waits for the server's word, so that whoever comes next gets it.
func (l *sessionLock) release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
		defer cancel()
		// When this fails the connection is gone, and with it the lock.
		_, _ = l.conn.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", l.key)
		_ = l.conn.Close()
		l.conn = nil
	}
	return l.db.Close()
}
