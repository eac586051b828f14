package pgtest

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestURLGivesFreshDatabases(t *testing.T) {
	first, second := URL(t), URL(t)
	if first == second {
		t.Fatalf("two calls gave the same database %s", first)
	}
	for _, u := range []string{first, second} {
		conn, err := pgx.Connect(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		var tables int
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables); err != nil {
			t.Fatal(err)
		}
		if tables != 0 {
			t.Errorf("the database has %d tables", tables)
		}
		if _, err := conn.Exec(t.Context(), "CREATE TABLE mine (id bigint)"); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
