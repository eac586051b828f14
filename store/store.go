// Package store keeps everything that truestock remembers, in SQLite or PostgreSQL. It is the only package that sees
// GORM and SQL, and it satisfies the interfaces that package sync declares.
//
// One transaction holds whatever belongs together, and a method that returned without an error has committed it
// durably. Statements that run for many rows are plain SQL (see statement); the rest is GORM with models of this
// package's own.
//
// On PostgreSQL, transactions that touch the same rows take them in one order: the tables as LedgerTx.Save lists them,
// the rows of each by key, locked first where a plain update would pick its own order. What deadlocks nevertheless is
// told as unavailable, and nothing is changed.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	stocksync "github.com/truestock/truestock/sync"
)

// Options are the settings of a store; the zero value is fit for a command beside a running server.
type Options struct {
	// Exclusive takes the database for this process alone; Open fails with ErrLocked while another process has it. A
	// process that dies gives it back. Opens that are not exclusive are not kept out.
	Exclusive bool
	// InboxQueue is how many events may wait for their commit before Put answers that it is busy. Zero means 4096.
	InboxQueue int
	// Connections is the size of the pool: of PostgreSQL connections, or of SQLite readers. Zero means 16, or 4.
	Connections int
	// VFS names the file system under SQLite, as registered with github.com/ncruces/go-sqlite3/vfs; empty: that of the
	// operating system.
	VFS string
}

// ErrLocked means that another process has the database for itself. The error that wraps it names that process.
var ErrLocked = errors.New("the database is in use by another truestock")

// Store is an open database. It is safe for concurrent use.
type Store struct {
	dialect dialect
	// write and read are the same on PostgreSQL. On SQLite write has one connection, for SQLite has one writer, and
	// read refuses to write.
	write, read     *gorm.DB
	writeDB, readDB *sql.DB
	statements      *statements // of SQLite
	inbox           *inbox
	checkpoints     *checkpointer // of SQLite
	lock            lock
	// lockRuns takes the lock of LockRuns.
	lockRuns func(ctx context.Context) (lock, error)
	closing  sync.Once
	closeErr error
}

var _ stocksync.Store = (*Store)(nil)

type dialect string

const (
	sqlite   dialect = "sqlite"
	postgres dialect = "postgres"
)

// lock is what Options.Exclusive takes.
type lock interface {
	// check fails when the lock was lost.
	check(ctx context.Context) error
	release() error
}

// Open opens the database at url: "sqlite:PATH", where a missing file is created, or
// "postgres://USER:PASSWORD@HOST:PORT/DATABASE". It does not look at the schema: SchemaState and Migrate do. Close must
// be called.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	scheme, path, _ := strings.Cut(url, ":")
	switch scheme {
	case "sqlite":
		return openSQLite(path, opts)
	case "postgres", "postgresql":
		return openPostgres(ctx, url, opts)
	default:
		return nil, fmt.Errorf("open the database: its address begins with neither sqlite: nor postgres://; write sqlite:truestock.db or postgres://user:password@host/database")
	}
}

// start makes a store of open pools and takes over their closing, also when it fails.
func start(d dialect, write, read *sql.DB, held lock, opts Options, dialector func(*sql.DB) gorm.Dialector) (*Store, error) {
	s := &Store{dialect: d, writeDB: write, readDB: read, lock: held}
	config := gorm.Config{SkipDefaultTransaction: true, Logger: logger.Discard}
	var err error
	if s.write, err = gorm.Open(dialector(write), &config); err == nil {
		s.read = s.write
		if read != write {
			config := gorm.Config{SkipDefaultTransaction: true, Logger: logger.Discard}
			s.read, err = gorm.Open(dialector(read), &config)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the database: %w", classify(err)), s.closePools())
	}
	s.inbox = startInbox(s, opts.InboxQueue)
	return s, nil
}

// Close commits the events that Put has taken, refuses new ones, and closes the database. It may be called twice.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.inbox.close()
		s.closeErr = s.closePools()
	})
	return s.closeErr
}

func (s *Store) closePools() error {
	errs := []error{s.writeDB.Close()}
	if s.checkpoints != nil {
		s.checkpoints.close()
	}
	if s.readDB != s.writeDB {
		errs = append(errs, s.readDB.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	return errors.Join(errs...)
}

// Ping proves that the database answers, has the schema of this binary, and is still ours where it was opened
// exclusively.
func (s *Store) Ping(ctx context.Context) error {
	state, err := s.SchemaState(ctx)
	if err != nil {
		return err
	}
	if state != SchemaCurrent {
		return fmt.Errorf("the schema of the database is %s: run truestock migrate", state)
	}
	if s.lock != nil {
		return s.lock.check(ctx)
	}
	return nil
}

// txn is one transaction.
type txn struct {
	ctx     context.Context
	dialect dialect
	store   *Store
	writes  bool
	conn    *sql.Conn
	tx      *sql.Tx
	// g is GORM on this transaction.
	g *gorm.DB
}

// change runs fn in one transaction that may write, and commits it. An error of fn undoes everything.
func (s *Store) change(ctx context.Context, doing string, fn func(t *txn) error) error {
	err := s.run(ctx, s.write, nil, fn)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// look runs fn in one transaction that sees one state of the database and cannot write.
func (s *Store) look(ctx context.Context, doing string, fn func(t *txn) error) error {
	opts := sql.TxOptions{ReadOnly: true}
	if s.dialect == postgres {
		opts.Isolation = sql.LevelRepeatableRead
	}
	if err := s.run(ctx, s.read, &opts, fn); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

func (s *Store) run(ctx context.Context, db *gorm.DB, opts *sql.TxOptions, fn func(t *txn) error) (err error) {
	pool := s.readDB
	if opts == nil {
		pool = s.writeDB
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return classify(err)
	}
	defer conn.Close()
	tx, err := conn.BeginTx(ctx, opts)
	if err != nil {
		return classify(err)
	}
	defer tx.Rollback() // when fn failed or panicked; after a commit it does nothing
	g := db.Session(&gorm.Session{NewDB: true, Context: ctx})
	g.Statement.ConnPool = tx
	t := &txn{ctx: ctx, dialect: s.dialect, store: s, writes: opts == nil, conn: conn, tx: tx, g: g}
	if err := fn(t); err != nil {
		return classify(err)
	}
	return classify(tx.Commit())
}

// order sorts map keys, so that the same input runs the same statements.
func order[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compare)
	return keys
}

// commitTimeout bounds work that is done for several callers and so has no caller's context.
const commitTimeout = 30 * time.Second
