package connectortest

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
)

// RunPlatform tells the story of a platform that shows no quantity. Its deliveries are verified like any others. Where it
// asks before each sale, Event is a question: the same question is known again, and has the same answer; yes and no
// differ. Where it does not ask, it must not be an Admitter, and must say so.
func RunPlatform(t *testing.T, f Fixture) {
	runAll(tested{t}, f.generic(), slices.Concat(platformCases(), webhookCases()))
}

func platformCases() []testCase {
	return []testCase{
		{"ClaimsWhatItAsks", func(t T, f fixture) {
			s := start(t, f, 0)
			m, ok := s.conn.(connectors.Marketplace)
			if !ok {
				t.Fatalf("%T is no Marketplace", s.conn)
			}
			want := connectors.OrdersOnly
			if _, ok := s.conn.(connectors.Admitter); ok {
				want = connectors.AsksFirst
			}
			if can := must2(t, m.Capabilities); can.Class != want || can.Class.Shelf() {
				t.Errorf("the class of %T is %q, not %q", s.conn, can.Class, want)
			}
			if err := m.Check(t.Context()); err != nil {
				t.Errorf("check: %v", err)
			}
			page, err := m.Listings(t.Context(), "")
			if must(t, "list", page, err); len(page.Rows) > 0 || page.Next != "" {
				t.Errorf("a platform without a shelf lists %d things", len(page.Rows))
			}
			_, err = m.WriteStock(t.Context(), []connectors.Write{{Ref: connectors.Ref{Item: "x"}, ID: "w"}})
			wantKind(t, err, connectors.Rejected)
			before := time.Now()
			orders, err := m.Orders(t.Context(), before.Add(-time.Hour), "")
			if must(t, "orders", orders, err); orders.Watermark.Before(before.Add(-time.Minute)) {
				t.Errorf("the orders reach up to %s", orders.Watermark)
			}
		}},
		{"QuestionsAreAnswered", func(t T, f fixture) {
			s := start(t, f, 0)
			r := s.conn.(connectors.WebhookReceiver)
			a, ok := s.conn.(connectors.Admitter)
			if !ok {
				t.Skip("it asks nothing")
			}
			now := time.Now()
			d := verified(t, s, r, now)
			notice, err := r.DecodeWebhook(d, d.Body)
			must(t, "decode", notice, err)
			if !notice.Asks || len(notice.Facts) != 1 || notice.Facts[0].Order == nil {
				t.Fatalf("the event is no question: %+v", notice)
			}
			later := verified(t, s, r, now.Add(2*time.Minute))
			if later.Key != d.Key || !bytes.Equal(later.Body, d.Body) {
				t.Error("asked again, the question is another one")
			}
			replies := map[connectors.Decision]connectors.Reply{}
			for _, decision := range []connectors.Decision{connectors.Admit, connectors.Refuse} {
				one := a.AnswerAdmission(d, connectors.Admission{Decision: decision, Reason: "the suite", At: now})
				two := a.AnswerAdmission(later, connectors.Admission{Decision: decision, Reason: "the suite", At: now})
				if one.Status == 0 || one.Status != two.Status || !bytes.Equal(one.Body, two.Body) {
					t.Errorf("%s is told as %d %s, and then as %d %s", decision, one.Status, one.Body, two.Status, two.Body)
				}
				replies[decision] = one
			}
			if yes, no := replies[connectors.Admit], replies[connectors.Refuse]; yes.Status == no.Status && bytes.Equal(yes.Body, no.Body) {
				t.Errorf("yes and no are both told as %d %s", yes.Status, yes.Body)
			}
		}},
		{"ReceptionsAreAnswered", func(t T, f fixture) {
			s := start(t, f, 0)
			a, ok := s.conn.(connectors.WebhookAnswerer)
			if !ok {
				t.Skip("plain HTTP answers")
			}
			taken := a.AnswerWebhook(connectors.ReceivedNew)
			for _, became := range []connectors.Reception{connectors.ReceivedAgain, connectors.ReceivedConflict, connectors.RefusedSignature,
				connectors.RefusedEnvelope, connectors.RefusedUnavailable} {
				reply := a.AnswerWebhook(became)
				if reply.Status < 200 || reply.Status > 599 {
					t.Errorf("%s is answered with status %d", became, reply.Status)
				}
				same := reply.Status == taken.Status && bytes.Equal(reply.Body, taken.Body)
				if good := became == connectors.ReceivedAgain; same != good {
					t.Errorf("%s is answered as what was taken: %t", became, same)
				}
			}
		}},
	}
}

func verified(t T, s *subject, r connectors.WebhookReceiver, at time.Time) connectors.Delivery {
	t.Helper()
	need(t, s.Sign != nil && len(s.Event) > 0, "Sign with Event")
	request := s.Sign("evt_1", at, s.Event)
	d, err := r.VerifyWebhook(request)
	must(t, "verify", d, err)
	return whole(t, s, d, request)
}

// whole is a delivery as it is stored.
func whole(t T, s *subject, d connectors.Delivery, request connectors.Request) connectors.Delivery {
	t.Helper()
	if d.Body == nil {
		d.Body = request.Body
	}
	if c, ok := s.conn.(connectors.WebhookCompleter); ok {
		completed, err := c.CompleteWebhook(t.Context(), d)
		return must(t, "complete", completed, err)
	}
	return d
}
