package sync_test

import (
	"errors"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/signature"
	"github.com/truestock/truestock/store"
	stocksync "github.com/truestock/truestock/sync"
)

// worded is a system that pings first, sends its events in the query of a GET, and wants 200 with words of its own.
type worded struct{ connectors.SystemOfRecord }

func (worded) WebhookMethods() []string { return []string{http.MethodGet} }

func (worded) Handshake(r connectors.Request) (connectors.Reply, bool) {
	return connectors.Reply{Status: http.StatusOK, Body: []byte("pong")}, r.Query().Has("ping")
}

func (worded) VerifyWebhook(r connectors.Request) (connectors.Delivery, error) {
	q := r.Query()
	ordinal, err := signature.Parse("old new").Match(q.Get("token"), signature.Plain)
	return connectors.Delivery{Key: q.Get("id"), Type: "told", Secret: ordinal, Body: []byte(q.Get("what"))}, err
}

func (worded) DecodeWebhook(connectors.Delivery, []byte) (connectors.Notice, error) {
	return connectors.Notice{Pull: true}, nil
}

func (worded) AnswerWebhook(became connectors.Reception) connectors.Reply {
	return connectors.Reply{Status: http.StatusOK, Body: []byte(became)}
}

// A connector decides how its system's requests are told apart and answered; what is stored is what it says.
func TestConnectorsWordTheirAnswers(t *testing.T) {
	s, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "db"), store.Options{Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	engine, err := stocksync.New(stocksync.Config{Records: []stocksync.Record{{ID: "erp", System: worded{}}}}, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, method, query string
		body                string
		stored              bool
		is                  error
	}{
		{"handshake", http.MethodPost, "ping=1", "pong", false, nil},
		{"new", http.MethodGet, "token=new&id=a&what=x", "new", true, nil},
		{"again", http.MethodGet, "token=old&id=a&what=x", "again", true, nil},
		{"other content", http.MethodGet, "token=old&id=a&what=y", "conflict", true, nil},
		{"not signed", http.MethodGet, "token=other&id=b", "signature", false, connectors.ErrSignature},
		{"another method", http.MethodPost, "token=new&id=c", "", false, nil},
	} {
		r, err := engine.Receive(t.Context(), "erp", connectors.Request{Method: c.method, RawQuery: c.query})
		if _, wrong := errors.AsType[*stocksync.MethodError](err); wrong != (c.name == "another method") {
			t.Errorf("%s: the error is %v", c.name, err)
		}
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: the error is %v, not %v", c.name, err, c.is)
		}
		reply := r.Reply
		if answered, ok := errors.AsType[*stocksync.AnsweredError](err); ok {
			reply = &answered.Reply
		}
		if (r.ID > 0) != c.stored || (reply == nil) != (c.body == "") || reply != nil && string(reply.Body) != c.body {
			t.Errorf("%s: event %d, reply %v", c.name, r.ID, reply)
		}
	}
	events, err := engine.Events(t.Context(), "", 0, 10)
	if err != nil || len(events) != 1 || events[0].Key != "a" {
		t.Errorf("the inbox has %+v, %v", events, err)
	}
}
