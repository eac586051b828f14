package main_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// When the disk is full nothing is answered 202 that is not stored; when there is room again, the server goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	t.Run("no space left", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t)
		disk := t.TempDir()
		if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=16m"); err != nil {
			t.Skipf("a small disk is missing: this user may not mount one: %v", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
		h.database = "sqlite:" + filepath.Join(disk, "truestock.db")
		h.addListener("on_hand")
		ballast := filepath.Join(disk, "ballast")
		fillsUp(t, h, h.start(), func(*server) { fill(t, ballast) }, func(*server) {
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("file too large", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t)
		h.addListener("on_hand")
		s := h.start()
		fillsUp(t, h, s, func(s *server) { limitFiles(t, s, 256<<10) }, func(s *server) { limitFiles(t, s, 1<<40) })
	})
}

// fillsUp sends load while the disk is full, while there is room again, and through a kill in between.
func fillsUp(t *testing.T, h *house, s *server, full, room func(*server)) {
	t.Helper()
	pad := strings.Repeat("x", 8<<10)
	s.deliver("warehouse", "before", event("stock.changed", "{}"))
	load := newLoad(s, func(n int64) webhook {
		return webhook{connection: "warehouse", id: fmt.Sprint("event ", n), body: event("stock.changed", `{"pad":"`+pad+`"}`)}
	})
	defer load.end()
	load.waitFor(h, http.StatusAccepted)
	full(s)
	load.waitFor(h, http.StatusServiceUnavailable)
	if err := s.wants(http.MethodGet, "/livez", http.StatusOK); err != nil {
		t.Error(err)
	}
	room(s)
	load.waitFor(h, http.StatusAccepted)
	full(s)
	load.waitFor(h, http.StatusServiceUnavailable)
	taken := load.end()
	for _, wrong := range load.wrong {
		t.Error(wrong)
	}
	s.kill()
	room(s)

	s = h.start()
	checkTaken(t, s, taken)
	s.applied()
	s.deliver("warehouse", "after", event("stock.changed", "{}"))
}

// fill writes a file until nothing more can be written.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4<<10)
	for {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// limitFiles says how large a file of the running server may become, as ulimit -f does for a new one.
func limitFiles(t *testing.T, s *server, bytes uint64) {
	t.Helper()
	if s.ended() {
		return
	}
	limit := syscall.Rlimit{Cur: bytes, Max: 1 << 62}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(s.cmd.Process.Pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		t.Fatalf("limit the files of the server: %v", errno)
	}
}
