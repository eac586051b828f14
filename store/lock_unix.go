//go:build unix

package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	stocksync "github.com/truestock/truestock/sync"
)

// fileLock is a lock on a file that the operating system takes back when the process ends, however it ends. The file
// stays; only the lock on it counts.
type fileLock struct{ f *os.File }

func lockFile(path string) (lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the database: %w: %w", stocksync.ErrUnavailable, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder := holderOf(path)
		_ = f.Close()
		return nil, fmt.Errorf("%w: %s holds %s; stop it, or give this one another database", ErrLocked, holder, path)
	}
	if err == nil {
		err = writeHolder(f)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock the database with %s: %w: %w", path, stocksync.ErrUnavailable, err)
	}
	return &fileLock{f}, nil
}

func writeHolder(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func holderOf(path string) string {
	b, err := os.ReadFile(path)
	pid := strings.TrimSpace(string(b))
	if _, bad := strconv.Atoi(pid); err != nil || bad != nil {
		return "another process"
	}
	return "process " + pid
}

func (l *fileLock) check(context.Context) error { return nil }

// release closes the file, which gives the lock back.
func (l *fileLock) release() error { return l.f.Close() }
