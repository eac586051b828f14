package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// maxFile is the size of the largest file that is read, in bytes.
const maxFile = 64 << 20

var (
	// errAuth: the server does not take the credentials, or is not the one that it should be.
	errAuth = errors.New("access refused")
	// errRefused: trying again is of no use.
	errRefused = errors.New("refused")
	// errNotReached: nothing can have been written.
	errNotReached = errors.New("the folder was not reached")
)

// file is an entry of a folder.
type file struct {
	name    string
	size    int64
	changed time.Time
}

// folder is where the files are. Names are a folder and a file, with a slash between them.
type folder interface {
	// list tells the files of a folder, by name; a folder that is missing is made.
	list(ctx context.Context, dir string) ([]file, error)
	// read returns at most maxFile bytes of a file. fs.ErrNotExist where it is not there.
	read(ctx context.Context, name string) ([]byte, error)
	// write makes a file that is there whole or not at all.
	write(ctx context.Context, name string, data []byte) error
	// move renames a file. A file of the new name is replaced.
	move(ctx context.Context, from, to string) error
	close() error
}

// guarded is a folder that refuses everything once its connection is closed.
type guarded struct {
	folder
	closed *atomic.Bool
}

func (g *guarded) open(ctx context.Context) error {
	if g.closed.Load() {
		return fmt.Errorf("%w: the connection is closed", errNotReached)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", errNotReached, err)
	}
	return nil
}

func (g *guarded) list(ctx context.Context, dir string) ([]file, error) {
	if err := g.open(ctx); err != nil {
		return nil, err
	}
	return g.folder.list(ctx, dir)
}

func (g *guarded) read(ctx context.Context, name string) ([]byte, error) {
	if err := g.open(ctx); err != nil {
		return nil, err
	}
	return g.folder.read(ctx, name)
}

func (g *guarded) write(ctx context.Context, name string, data []byte) error {
	if err := g.open(ctx); err != nil {
		return err
	}
	return g.folder.write(ctx, name, data)
}

func (g *guarded) move(ctx context.Context, from, to string) error {
	if err := g.open(ctx); err != nil {
		return err
	}
	return g.folder.move(ctx, from, to)
}

// localFolder is a folder of this machine.
type localFolder string

func (l localFolder) path(name string) string {
	return filepath.Join(string(l), filepath.FromSlash(name))
}

func (l localFolder) list(_ context.Context, dir string) ([]file, error) {
	if err := l.reachable(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(l.path(dir), 0o755); err != nil {
		return nil, wrapLocal(err)
	}
	entries, err := os.ReadDir(l.path(dir))
	if err != nil {
		return nil, wrapLocal(err)
	}
	var files []file
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue
		}
		if err != nil {
			return nil, wrapLocal(err)
		}
		files = append(files, file{e.Name(), info.Size(), info.ModTime()})
	}
	return files, nil
}

// reachable keeps a folder whose disk is not mounted from being made anew, and empty.
func (l localFolder) reachable() error {
	info, err := os.Stat(string(l))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no folder %s; make it, or mount the disk that it is on", errNotReached, string(l))
	case err != nil:
		return wrapLocal(err)
	case !info.IsDir():
		return fmt.Errorf("%w: %s is not a folder", errRefused, string(l))
	}
	return nil
}

func (l localFolder) read(_ context.Context, name string) ([]byte, error) {
	f, err := os.Open(l.path(name))
	if err != nil {
		return nil, wrapLocal(err)
	}
	defer func() { _ = f.Close() }()
	return readWhole(f)
}

func readWhole(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(data) > maxFile {
		return nil, fmt.Errorf("%w: the file is larger than %d bytes", errRefused, maxFile)
	}
	return data, err
}

func (l localFolder) write(_ context.Context, name string, data []byte) error {
	if err := l.reachable(); err != nil {
		return err
	}
	path := l.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return wrapLocal(err)
	}
	// The other side takes *.csv: the file gets its name when it is whole, and is on the disk.
	t, err := os.CreateTemp(filepath.Dir(path), ".*.part")
	if err != nil {
		return wrapLocal(err)
	}
	_, err = t.Write(data)
	err = errors.Join(err, t.Chmod(0o644), t.Sync(), t.Close())
	if err == nil {
		err = os.Rename(t.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%w: %w", errNotReached, wrapLocal(err)), os.Remove(t.Name()))
	}
	return nil
}

func (l localFolder) move(_ context.Context, from, to string) error {
	if err := os.MkdirAll(filepath.Dir(l.path(to)), 0o755); err != nil {
		return wrapLocal(err)
	}
	return wrapLocal(os.Rename(l.path(from), l.path(to)))
}

func (l localFolder) close() error { return nil }

func wrapLocal(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w; give the user that truestock runs as the right to read and write there", errAuth, err)
	default:
		return err
	}
}

// restful are the files of a kind that may be read, oldest first by the instants in their names: csv files that nobody
// has changed for a while.
func restful(files []file, prefix string, rest time.Duration, now time.Time) []file {
	var out []file
	for _, f := range files {
		if _, _, ok := stamp(f.name, prefix); ok && now.Sub(f.changed) >= rest {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b file) int {
		_, x, _ := stamp(a.name, prefix)
		_, y, _ := stamp(b.name, prefix)
		if x != y {
			return int(min(1, max(-1, x-y)))
		}
		return strings.Compare(a.name, b.name)
	})
	return out
}
