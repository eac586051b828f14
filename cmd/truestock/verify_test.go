package main_test

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	_ "github.com/jackc/pgx/v5/stdlib" // to change a byte in PostgreSQL
)

type verifyView struct {
	Sound       bool  `json:"sound"`
	Postings    int64 `json:"postings"`
	Orders      int64 `json:"orders"`
	Found       int64 `json:"found"`
	Differences []struct {
		Kind    string `json:"kind"`
		Posting string `json:"posting"`
		SKU     string `json:"sku"`
		Message string `json:"message"`
	} `json:"differences"`
}

// verified expects that nothing in the database contradicts anything, beside the running server.
func verified(s *server) verifyView {
	s.h.t.Helper()
	return s.h.verify(exitOK)
}

func (h *house) verify(code int) (v verifyView) {
	h.t.Helper()
	r := h.must(code, "verify", "--output", "json")
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil {
		h.t.Fatalf("truestock verify prints %q: %v", r.stdout, err)
	}
	if v.Sound != (code == exitOK) {
		h.t.Fatalf("truestock verify ends with %d and says %+v", code, v)
	}
	return v
}

// One byte of one posting changes where the database lies: the verification names the posting.
func TestVerifyFindsAChangedByte(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		s := smallHouse(t, h, "on_hand", "TEA", "POT")
		s.deliver("warehouse", "tea", levelEvent("TEA", 10, 1))
		s.deliver("warehouse", "pot", levelEvent("POT", 10, 2))
		s.deliver("shop", "order", orderEvent("O", 1, "TEA", 3, 0, 0))
		s.deliver("shop", "changed order", orderEvent("CHANGEME", 1, "POT", 2, 0, 0))
		s.deliver("shop", "cancelled", event("order.cancelled", `{"order_id":"O","version":2}`))
		h.shows("shop", "TEA", 10)
		s.settled()
		if v := verified(s); v.Postings != 5 || v.Orders != 2 {
			t.Errorf("read were %+v, want 5 postings and 2 orders", v)
		}
		wanted := get[struct {
			Components []struct {
				Postings []struct {
					ID    string `json:"id"`
					Cause string `json:"cause"`
				} `json:"postings"`
			} `json:"components"`
		}](s, "/explain/shop/POT").Components[0].Postings[0]
		if wanted.Cause != "commitment" {
			t.Fatalf("the newest posting of POT is of the cause %q, want commitment", wanted.Cause)
		}
		if code := s.stop(); code != exitOK {
			t.Fatalf("the server ends with %d", code)
		}
		changeByte(t, h)
		v := h.verify(exitNotMet)
		if v.Found != 1 || v.Differences[0].Kind != "posting" || v.Differences[0].Posting != wanted.ID || v.Differences[0].SKU != "POT" {
			t.Errorf("told are %+v, want the posting %s of POT alone", v, wanted.ID)
		}
		if r := h.must(exitNotMet, "verify"); !strings.Contains(r.stdout, "posting "+wanted.ID) {
			t.Errorf("truestock verify prints %q, want posting %s", r.stdout, wanted.ID)
		}
	})
}

// changeByte changes the first letter of the reference shop:CHANGEME in the one posting that has it.
func changeByte(t *testing.T, h *house) {
	t.Helper()
	if strings.HasPrefix(h.database, "postgres") {
		db, err := sql.Open("pgx", h.database)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		r, err := db.ExecContext(t.Context(), "UPDATE postings SET reference = 'rhop:CHANGEME' WHERE reference = 'shop:CHANGEME'")
		if err != nil {
			t.Fatal(err)
		}
		if n, err := r.RowsAffected(); err != nil || n != 1 {
			t.Fatalf("%d postings were changed: %v", n, err)
		}
		return
	}
	path := filepath.Join(h.dir, "truestock.db")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// In a row of postings the reference follows the cause and the number of the event.
	found := 0
	for at := 0; ; at++ {
		next := bytes.Index(data[at:], []byte("shop:CHANGEME"))
		if next < 0 {
			break
		}
		at += next
		if bytes.Contains(data[max(0, at-12):at], []byte("commitment")) {
			data[at] ^= 1
			found++
		}
	}
	if found != 1 {
		t.Fatalf("%d postings have the reference, want one", found)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
