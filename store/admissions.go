package store

import (
	"context"

	"github.com/truestock/truestock/connectors"
	stocksync "github.com/truestock/truestock/sync"
)

var (
	admissionsTable = table{"admissions", numbers("event"), join(texts("decision", "reason"), numbers("at"))}
	addAdmissions   = bulk(1, join(admissionsTable.key, admissionsTable.rest), "INSERT INTO admissions (event, decision, reason, at) {VALUES v.event, v.decision, v.reason, v.at}")
	firstAdmissions = admissionsTable.add()
	findAdmissions  = admissionsTable.find(numbers("event"), "")
)

// Admission finds the decision on an event.
func (s *Store) Admission(ctx context.Context, event int64) (a stocksync.Admission, ok bool, err error) {
	err = s.look(ctx, "look for a decision", func(t *txn) error {
		a, ok, err = ledgerTx{txn: t}.Admission(event)
		return err
	})
	return a, ok, err
}

// Decide stores a decision where there is none yet.
func (s *Store) Decide(ctx context.Context, a stocksync.Admission, incidents ...stocksync.Incident) (held stocksync.Admission, err error) {
	err = s.change(ctx, "store a decision", func(t *txn) error {
		if _, err := t.exec(firstAdmissions, [][]any{admissionRow(a)}); err != nil {
			return err
		}
		if held, _, err = (ledgerTx{txn: t}).Admission(a.Event); err != nil || held.Reason != a.Reason || held.Decision != a.Decision {
			return err
		}
		return t.openIncidents(incidents)
	})
	return held, err
}

func admissionRow(a stocksync.Admission) []any {
	return []any{a.Event, string(a.Decision), cleanText(a.Reason), nanos(a.At)}
}

// Admission finds the decision on an event.
func (t ledgerTx) Admission(event int64) (a stocksync.Admission, ok bool, err error) {
	err = t.query(findAdmissions, [][]any{{event}}, func(r row) error {
		a, ok = stocksync.Admission{Event: event, Admission: connectors.Admission{Decision: connectors.Decision(r.text(1)), Reason: r.text(2), At: r.time(3)}}, true
		return nil
	})
	return a, ok, during("load a decision", err)
}

// Only limits the batch.
func (t ledgerTx) Only(n int) { *t.only = n }

// Planning shows what plans are made from, in the same transaction.
func (t ledgerTx) Planning() stocksync.PlanTx { return planTx{txn: t.txn} }

func (t ledgerTx) saveAdmissions(c stocksync.Changes) error {
	rows := make([][]any, len(c.Admissions))
	for i, a := range c.Admissions {
		rows[i] = admissionRow(a)
	}
	_, err := t.exec(addAdmissions, rows)
	return err
}
