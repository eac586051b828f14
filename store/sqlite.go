package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/gormlite"
	"gorm.io/gorm"

	stocksync "github.com/truestock/truestock/sync"
)

const (
	// sqliteBusy is how long a connection waits for a process that writes to the same file.
	sqliteBusy = 10 * time.Second
	// sqliteReaders is the default number of connections that read; each has a cache of its own.
	sqliteReaders = 4
	// readerIdle is after how long an idle reader gives its memory back. To open one anew costs a reading of the whole schema.
	readerIdle = 10 * time.Minute
)

// Pages have 4 KiB; what carries the write-ahead log over into the file is the checkpointer. The caches are filled only by
// use.
const (
	writerPragmas = `
		PRAGMA journal_mode = WAL;
		PRAGMA synchronous = FULL;
		PRAGMA foreign_keys = ON;
		PRAGMA journal_size_limit = 67108864;
		PRAGMA cache_size = -98304;
		PRAGMA temp_store = MEMORY;`
	readerPragmas = `
		PRAGMA query_only = ON;
		PRAGMA cache_size = -4096;
		PRAGMA temp_store = MEMORY;`
)

func openSQLite(path string, opts Options) (*Store, error) {
	if path == "" {
		return nil, errors.New("open the database: the address sqlite: names no file; write for example sqlite:truestock.db")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	var held lock
	if opts.Exclusive {
		if held, err = lockFile(path + ".lock"); err != nil {
			return nil, err
		}
	}
	release := func() {
		if held != nil {
			_ = held.release()
		}
	}
	if err := createPrivate(path); err != nil {
		release()
		return nil, fmt.Errorf("open the database %s: %w: %w", path, stocksync.ErrUnavailable, err)
	}
	name := fileURI(path)
	if opts.VFS != "" {
		name += "&vfs=" + url.QueryEscape(opts.VFS)
	}
	kept := new(statements)
	checkpoints := startCheckpointer(name)
	release = func() {
		checkpoints.close()
		if held != nil {
			_ = held.release()
		}
	}
	write, err := driver.Open(name, func(c *sqlite3.Conn) error {
		checkpoints.watch(c)
		return configure(writerPragmas)(c)
	}, kept.end)
	if err != nil {
		release()
		return nil, fmt.Errorf("open the database %s: %w", path, classify(err))
	}
	write.SetMaxOpenConns(1)
	if err := write.Ping(); err != nil {
		_ = write.Close()
		release()
		return nil, fmt.Errorf("open the database %s: %w", path, classify(err))
	}
	read, err := driver.Open(name, configure(readerPragmas), kept.end)
	if err != nil {
		_ = write.Close()
		release()
		return nil, fmt.Errorf("open the database %s: %w", path, classify(err))
	}
	readers := opts.Connections
	if readers < 1 {
		readers = sqliteReaders
	}
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	read.SetConnMaxIdleTime(readerIdle)
	s, err := start(sqlite, write, read, held, opts, func(db *sql.DB) gorm.Dialector { return gormlite.OpenDB(db) })
	if err != nil {
		checkpoints.close()
		return nil, err
	}
	s.statements, s.checkpoints = kept, checkpoints
	s.lockRuns = func(context.Context) (lock, error) { return lockFile(path + ".reconcile.lock") }
	return s, nil
}

// fileURI names the file for SQLite and says that its write-ahead log gets the same mode.
func fileURI(path string) string {
	escaped := (&url.URL{Path: path}).EscapedPath()
	return "file:" + escaped + "?modeof=" + url.QueryEscape(path)
}

// createPrivate makes sure that the database and its shared memory can be read by nobody else: they hold orders. SQLite
// itself would create them with the process's mask.
func createPrivate(path string) error {
	for _, suffix := range []string{"", "-shm"} {
		f, err := os.OpenFile(path+suffix, os.O_RDWR|os.O_CREATE, 0o600)
		if errors.Is(err, fs.ErrPermission) && suffix != "" {
			continue // of another user, who decided on it; SQLite tells whether it can live with that
		}
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

func configure(pragmas string) func(c *sqlite3.Conn) error {
	return func(c *sqlite3.Conn) error {
		if err := c.BusyTimeout(sqliteBusy); err != nil {
			return err
		}
		return c.Exec(pragmas)
	}
}
