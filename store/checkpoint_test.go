package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	stocksync "github.com/truestock/truestock/sync"
)

// TestLogIsCarriedOver stores more than checkpointEvery pages, and sees the file grow while the database stays open, and
// the log begin anew with what is written then.
func TestLogIsCarriedOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	s := open(t, "sqlite:"+path, Options{})
	const bodyBytes, pageBytes, perPut = 100 * 4096, 4096, 10
	body := bytes.Repeat([]byte{'x'}, bodyBytes)
	n := 0
	put := func(bytesInAll int) {
		for range bytesInAll / bodyBytes / perPut {
			events := make([]stocksync.NewEvent, perPut)
			for i := range events {
				n++
				events[i] = event(fmt.Sprint(n), string(body))
			}
			got(s.PutAll(t.Context(), events))(t)
		}
	}
	put((checkpointEvery + 2000) * pageBytes)
	grown(t, path, checkpointEvery*pageBytes)

	put(3 * checkpointMost * pageBytes)
	if size := sizeOf(t, path+"-wal"); size > 2*checkpointMost*pageBytes {
		t.Errorf("the log has %d bytes: it never began anew", size)
	}
}

// grown waits until a file has so many bytes.
func grown(t *testing.T, path string, size int64) {
	t.Helper()
	late := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for sizeOf(t, path) < size {
		select {
		case <-late:
			t.Fatalf("%s has %d bytes; nothing was carried over", path, sizeOf(t, path))
		case <-tick.C:
		}
	}
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return info.Size()
}
