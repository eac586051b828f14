package store

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

const (
	inboxQueue = 4096
	// inboxBatch is the most events in one commit of Put; more make a commit slower without making it much cheaper.
	inboxBatch = 256
	// maxEventKey is the most bytes in an event's key: an index of PostgreSQL takes no more than 2,704.
	maxEventKey = 1024
)

var (
	insertEvent = bulk(0, join(texts("connection", "key", "type", "format"), blobs("body", "body_hash"), numbers("received_at")),
		`INSERT INTO inbox (connection, key, type, format, body, body_hash, received_at)
		{VALUES v.connection, v.key, v.type, v.format, v.body, v.body_hash, v.received_at}
		ON CONFLICT (connection, key) DO NOTHING RETURNING connection, key, id`)
	findEvent = bulk(2, texts("connection", "key"),
		`SELECT inbox.connection, inbox.key, inbox.id, inbox.body_hash FROM inbox{,} WHERE inbox.connection = v.connection AND inbox.key = v.key`)
	insertDue = bulk(1, numbers("event"), `INSERT INTO due (event) {VALUES v.event} ON CONFLICT (event) DO NOTHING`)
	deleteDue = bulk(1, numbers("event"), `DELETE FROM due {USING} WHERE due.event = v.event`)
)

// inbox is the group commit: one goroutine takes what waits, stores it in one transaction and answers everybody. It does
// not linger for more: while one batch commits, the next one gathers.
type inbox struct {
	store *Store
	queue chan *waiting
	done  chan struct{}
	// mu guards closed and the sending end of queue.
	mu     sync.RWMutex
	closed bool
}

// waiting is an event on its way, with the place for its answer.
type waiting struct {
	event  stocksync.NewEvent
	answer chan answer
}

type answer struct {
	receipt stocksync.Receipt
	err     error
}

func startInbox(s *Store, size int) *inbox {
	if size < 1 {
		size = inboxQueue
	}
	b := &inbox{store: s, queue: make(chan *waiting, size), done: make(chan struct{})}
	go b.run()
	return b
}

// Put stores an event together with those of concurrent callers. A caller whose context ends stops waiting; its event
// may be stored nevertheless, and is a duplicate when it comes again.
func (s *Store) Put(ctx context.Context, e stocksync.NewEvent) (stocksync.Receipt, error) {
	if err := checkEvent(e); err != nil {
		return stocksync.Receipt{}, err
	}
	w := &waiting{e, make(chan answer, 1)}
	if err := s.inbox.send(w); err != nil {
		return stocksync.Receipt{}, err
	}
	select {
	case a := <-w.answer:
		return a.receipt, a.err
	case <-ctx.Done():
		return stocksync.Receipt{}, fmt.Errorf("store event %s of %s: %w", e.Key, e.Connection, ctx.Err())
	}
}

// PutAll stores many events in one transaction.
func (s *Store) PutAll(ctx context.Context, events []stocksync.NewEvent) ([]stocksync.Receipt, error) {
	for _, e := range events {
		if err := checkEvent(e); err != nil {
			return nil, err
		}
	}
	if len(events) == 0 {
		return nil, nil
	}
	return s.store(ctx, events)
}

func checkEvent(e stocksync.NewEvent) error {
	switch {
	case e.Key == "" || len(e.Key) > maxEventKey:
		return fmt.Errorf("store an event of %s: its key has %d bytes; it must have from 1 to %d", e.Connection, len(e.Key), maxEventKey)
	case !storable(e.Key):
		return fmt.Errorf("store an event of %s: its key is not text", e.Connection)
	}
	return nil
}

func (b *inbox) send(w *waiting) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return unavailable(errors.New("the store is closed"))
	}
	select {
	case b.queue <- w:
		return nil
	default:
		return stocksync.ErrBusy
	}
}

func (b *inbox) close() {
	b.mu.Lock()
	b.closed = true
	close(b.queue)
	b.mu.Unlock()
	<-b.done
}

func (b *inbox) run() {
	defer close(b.done)
	batch := make([]*waiting, 0, inboxBatch)
	for w := range b.queue {
		batch = b.gather(append(batch[:0], w))
		b.commit(batch)
		clear(batch)
	}
}

// gather adds what waits by now.
func (b *inbox) gather(batch []*waiting) []*waiting {
	for len(batch) < inboxBatch {
		select {
		case w, open := <-b.queue:
			if !open {
				return batch
			}
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

func (b *inbox) commit(batch []*waiting) {
	events := make([]stocksync.NewEvent, len(batch))
	for i, w := range batch {
		events[i] = w.event
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	receipts, err := b.store.store(ctx, events)
	if err != nil && !errors.Is(err, stocksync.ErrUnavailable) {
		err = unavailable(err)
	}
	for i, w := range batch {
		if err != nil {
			w.answer <- answer{err: err}
			continue
		}
		w.answer <- answer{receipt: receipts[i]}
	}
}

// store inserts events in one transaction. It runs again after a deadlock, which two servers can run into that get the
// same deliveries in another order.
func (s *Store) store(ctx context.Context, events []stocksync.NewEvent) (receipts []stocksync.Receipt, err error) {
	for range 3 {
		err = s.change(ctx, "store events", func(t *txn) error {
			receipts, err = t.putEvents(events)
			return err
		})
		e, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || e.Code != "40P01" {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return receipts, nil
}

// eventKey is what an event is unique by.
type eventKey struct {
	connection stock.ConnectionID
	key        string
}

// held is what the inbox has under a key.
type held struct {
	id   int64
	hash []byte
}

func (t *txn) putEvents(events []stocksync.NewEvent) ([]stocksync.Receipt, error) {
	hashes := make([][32]byte, len(events))
	first := make(map[eventKey]int, len(events)) // the first event of each key
	var rows [][]any
	for i, e := range events {
		hashes[i] = sha256.Sum256(e.Body)
		k := eventKey{e.Connection, e.Key}
		if _, twice := first[k]; twice {
			continue
		}
		first[k] = i
		rows = append(rows, []any{string(e.Connection), e.Key, e.Type, string(e.Format), body(e.Body), hashes[i][:], nanos(e.ReceivedAt)})
	}
	inserted, err := t.insertEvents(rows)
	if err != nil {
		return nil, err
	}
	known, err := t.findEvents(first, inserted)
	if err != nil {
		return nil, err
	}
	receipts := make([]stocksync.Receipt, len(events))
	for i, e := range events {
		k := eventKey{e.Connection, e.Key}
		id, isNew := inserted[k]
		if isNew && first[k] == i {
			receipts[i] = stocksync.Receipt{ID: id}
			continue
		}
		was := known[k]
		if isNew {
			was = held{id, hashes[first[k]][:]}
		}
		same := subtle.ConstantTimeCompare(was.hash, hashes[i][:]) == 1
		receipts[i] = stocksync.Receipt{ID: was.id, Duplicate: same, Conflict: !same}
	}
	return receipts, nil
}

// body is never null.
func body(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// insertEvents inserts the events whose keys are new and makes them due.
func (t *txn) insertEvents(rows [][]any) (map[eventKey]int64, error) {
	inserted := make(map[eventKey]int64, len(rows))
	due := make([][]any, 0, len(rows))
	err := t.query(insertEvent, rows, func(r row) error {
		id := r.number(2)
		inserted[eventKey{stock.ConnectionID(r.text(0)), r.text(1)}] = id
		due = append(due, []any{id})
		return nil
	})
	if err != nil {
		return nil, err
	}
	_, err = t.exec(insertDue, due)
	return inserted, err
}

// findEvents looks up the keys that were not inserted.
func (t *txn) findEvents(keys map[eventKey]int, inserted map[eventKey]int64) (map[eventKey]held, error) {
	var rows [][]any
	for k := range keys {
		if _, ok := inserted[k]; !ok {
			rows = append(rows, []any{string(k.connection), k.key})
		}
	}
	known := make(map[eventKey]held, len(rows))
	err := t.query(findEvent, rows, func(r row) error {
		known[eventKey{stock.ConnectionID(r.text(0)), r.text(1)}] = held{r.number(2), r.blob(3)}
		return nil
	})
	if err == nil && len(known) < len(rows) {
		err = errors.New("an event is in the inbox and cannot be found there")
	}
	return known, err
}

// Replay makes a parked event due again. at is not needed: an event that is due is due at once.
func (s *Store) Replay(ctx context.Context, id int64, _ time.Time, acts ...stocksync.AuditEntry) error {
	return s.act(ctx, fmt.Sprintf("replay event %d", id), acts, func(t *txn) error {
		replayed, err := t.unpark([]int64{id})
		if err == nil && replayed == 0 {
			return stocksync.ErrNotFound
		}
		return err
	})
}

var deleteParked = bulk(1, numbers("event"), `DELETE FROM parked {USING} WHERE parked.event = v.event RETURNING parked.event`)

// unpark makes those of the events due that are parked, and returns how many that were.
func (t *txn) unpark(ids []int64) (int, error) {
	rows := make([][]any, len(ids))
	for i, id := range ids {
		rows[i] = []any{id}
	}
	var parked [][]any
	err := t.query(deleteParked, rows, func(r row) error {
		parked = append(parked, []any{r.number(0)})
		return nil
	})
	if err != nil {
		return 0, err
	}
	_, err = t.exec(insertDue, parked)
	return len(parked), err
}
