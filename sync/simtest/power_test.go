package simtest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// TestPower: what is committed under synchronous FULL outlasts the power, wherever it fails; under NORMAL it need not. So
// the disk of the simulation would tell if the store gave the first up for the second.
func TestPower(t *testing.T) {
	for _, synchronous := range []string{"FULL", "NORMAL"} {
		lost, torn := 0, 0
		for at := 1; at < 120; at += 3 {
			committed, found, dropped := cutAt(t, synchronous, at)
			if found < committed {
				lost++
			}
			if dropped > 0 {
				torn++
			}
		}
		switch {
		case synchronous == "FULL" && lost > 0:
			t.Errorf("%d power failures have lost what was committed", lost)
		case synchronous == "FULL" && torn == 0:
			t.Error("no power failure came amid a write")
		case synchronous == "NORMAL" && lost == 0:
			t.Error("no power failure has lost anything although nothing is synced")
		}
	}
}

// cutAt commits rows until the power fails at the n-th write to the log, and counts the rows that are found afterwards.
func cutAt(t *testing.T, synchronous string, n int) (committed, found, dropped int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "power.db")
	d := newDisk(path)
	vfs.Register(path, d)
	defer vfs.Unregister(path)
	open := func() *sqlite3.Conn {
		c, err := sqlite3.Open("file:" + path + "?vfs=" + path)
		if err == nil {
			err = c.Exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = " + synchronous + "; CREATE TABLE IF NOT EXISTS rows (n INTEGER PRIMARY KEY, body TEXT)")
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open()
	dark := false
	d.arm(n, dice(uint64(n), "power"), func() { dark = true })
	for i := 1; !dark; i++ {
		if err := c.Exec(fmt.Sprintf("INSERT INTO rows VALUES (%d, hex(randomblob(3000)))", i)); err != nil {
			t.Fatal(err)
		}
		if !dark {
			committed = i
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	left, dropped, err := d.restart()
	if err == nil {
		err = replace(path, left)
	}
	if err != nil {
		t.Fatal(err)
	}
	c = open()
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	rows, _, err := c.Prepare("SELECT count(*) FROM rows")
	if err != nil {
		t.Fatal(err)
	}
	if rows.Step() {
		found = rows.ColumnInt(0)
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return committed, found, dropped
}
