package store

import (
	"errors"

	"github.com/ncruces/go-sqlite3"
)

const (
	// checkpointEvery is after how many new pages the write-ahead log is carried over into the file beside the writer.
	checkpointEvery = 4000
	// checkpointMost is from how many pages on the writer itself carries over what is left. That is little, and it lets the
	// log begin anew, which under constant load it never would: the writer adds pages while the others are carried over.
	checkpointMost = 16000
)

// checkpointer carries the write-ahead log of SQLite over into the file on a connection of its own, so that the one
// writer does not have to read and write every changed page once more. It opens that connection when there is something
// to do. A checkpoint that fails is no failure of a transaction: those are in the log, and the next one tries again.
type checkpointer struct {
	wake signal
	done chan struct{}
}

// signal tells a goroutine that there is work. Many before it looks are one.
type signal chan struct{}

func startCheckpointer(name string) *checkpointer {
	c := &checkpointer{wake: make(signal, 1), done: make(chan struct{})}
	go c.run(name)
	return c
}

// watch makes the writer's connection tell after every commit how long the log is.
func (c *checkpointer) watch(conn *sqlite3.Conn) {
	asked := 0 // the pages at which the last checkpoint was asked for
	conn.WALHook(func(conn *sqlite3.Conn, schema string, pages int) error {
		if pages < asked {
			asked = 0 // the log began anew
		}
		switch {
		case pages >= checkpointMost:
			_, _, _ = conn.WALCheckpoint(schema, sqlite3.CHECKPOINT_PASSIVE) // an error here would pass for one of the commit
		case pages-asked >= checkpointEvery:
			asked = pages
			select {
			case c.wake <- struct{}{}:
			default:
			}
		}
		return nil
	})
}

func (c *checkpointer) run(name string) {
	defer close(c.done)
	var conn *sqlite3.Conn
	for range c.wake {
		if conn == nil {
			conn, _ = openForCheckpoints(name)
		}
		if conn != nil {
			_, _, _ = conn.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE)
		}
	}
	if conn != nil {
		_ = conn.Close()
	}
}

// openForCheckpoints opens a connection that knows of the log: one that has read nothing yet would carry nothing over.
func openForCheckpoints(name string) (*sqlite3.Conn, error) {
	conn, err := sqlite3.Open(name)
	if err != nil {
		return nil, err
	}
	if err := conn.Exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// close ends the work. Nothing may be committed any more.
func (c *checkpointer) close() {
	close(c.wake)
	<-c.done
}
