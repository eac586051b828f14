package simtest

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// disk is a file system between SQLite and that of the machine, on which the power can fail: every write is passed on, and
// until the file is synced the disk remembers what was there before. When the power fails, of the writes that were not
// synced any may be lost, also one of which a later one is kept. What is synced is kept; so are names of files.
type disk struct {
	vfs.VFS
	mu     sync.Mutex
	unsafe map[string][]change // by file, oldest first
	// cutIn counts down to the write to the log, or the sync of it, at which the power fails; 0: it does not. Then cut is
	// called, and left is what is on the disk.
	cutIn  int
	names  []string
	chance *rand.Rand
	cut    func()
	left   map[string][]byte
	lost   int
	err    error
}

// change is a write, or a truncation where there is nothing after, that was not synced.
type change struct {
	offset, size  int64 // size is that of the file before
	before, after []byte
	cut           int64 // to which size it was cut
}

func newDisk(path string) *disk {
	return &disk{VFS: vfs.Find(""), unsafe: map[string][]change{}, names: []string{path, path + "-wal"}}
}

// arm lets the power fail at the n-th write to the log from now.
func (d *disk) arm(n int, chance *rand.Rand, cut func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutIn, d.chance, d.cut = n, chance, cut
}

// tick passes a moment at which the power can fail. Call it with the mutex held.
func (d *disk) tick(name string) {
	if d.cutIn == 0 || !strings.HasSuffix(name, "-wal") {
		return
	}
	if d.cutIn--; d.cutIn == 0 {
		d.left, d.lost, d.err = d.fail(d.chance)
		d.cut()
	}
}

// OpenFilename implements vfs.VFSFilename.
func (d *disk) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, out, err := vfsutil.WrapOpenFilename(d.VFS, name, flags)
	if err != nil || flags&(vfs.OPEN_MAIN_DB|vfs.OPEN_WAL) == 0 {
		return f, out, err
	}
	file := &platter{File: f, disk: d, name: name.String()}
	if flags&vfs.OPEN_MAIN_DB != 0 {
		file.shm = vfsutil.WrapSharedMemory(f)
	}
	return file, out, nil
}

// Delete implements vfs.VFS.
func (d *disk) Delete(name string, syncDir bool) error {
	d.mu.Lock()
	delete(d.unsafe, name)
	d.mu.Unlock()
	return d.VFS.Delete(name, syncDir)
}

// platter is a file on the disk.
type platter struct {
	vfs.File
	disk *disk
	name string
	shm  vfs.SharedMemory
}

var (
	_ vfs.FileSharedMemory = (*platter)(nil)
	_ vfs.FileLockState    = (*platter)(nil)
	_ vfs.FileUnwrap       = (*platter)(nil)
)

// SharedMemory implements vfs.FileSharedMemory.
func (p *platter) SharedMemory() vfs.SharedMemory { return p.shm }

// LockState implements vfs.FileLockState.
func (p *platter) LockState() vfs.LockLevel { return vfsutil.WrapLockState(p.File) }

// Unwrap implements vfs.FileUnwrap.
func (p *platter) Unwrap() vfs.File { return p.File }

// WriteAt implements vfs.File.
func (p *platter) WriteAt(b []byte, offset int64) (int, error) {
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	size, err := p.Size()
	if err != nil {
		return 0, err
	}
	before := make([]byte, max(0, min(int64(len(b)), size-offset)))
	if _, err := p.ReadAt(before, offset); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	p.disk.unsafe[p.name] = append(p.disk.unsafe[p.name], change{offset: offset, size: size, before: before, after: slices.Clone(b)})
	n, err := p.File.WriteAt(b, offset)
	p.disk.tick(p.name)
	return n, err
}

// Truncate implements vfs.File.
func (p *platter) Truncate(to int64) error {
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	size, err := p.Size()
	if err != nil {
		return err
	}
	before := make([]byte, max(0, size-to))
	if _, err := p.ReadAt(before, to); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	p.disk.unsafe[p.name] = append(p.disk.unsafe[p.name], change{offset: to, size: size, before: before, cut: to})
	return p.File.Truncate(to)
}

// Sync implements vfs.File.
func (p *platter) Sync(flags vfs.SyncFlag) error {
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	p.disk.tick(p.name)
	if err := p.File.Sync(flags); err != nil {
		return err
	}
	delete(p.disk.unsafe, p.name)
	return nil
}

// fail is what a power failure leaves of the files as they are now: everything that was synced, and of the rest what
// chance keeps. It changes nothing yet: the program has the files open. Call it with the mutex held.
func (d *disk) fail(r *rand.Rand) (left map[string][]byte, lost int, err error) {
	left = map[string][]byte{}
	for _, name := range d.names {
		content, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		changes := d.unsafe[name]
		for _, c := range slices.Backward(changes) {
			content = resized(content, max(c.size, c.offset+int64(len(c.before))))
			copy(content[c.offset:], c.before)
			content = resized(content, c.size)
		}
		keep := r.IntN(3) // nothing, or each with the same chance, or all but the last
		for i, c := range changes {
			if keep == 0 || keep == 1 && r.IntN(2) == 0 || keep == 2 && i == len(changes)-1 {
				lost++
				continue
			}
			if c.after == nil {
				content = resized(content, c.cut)
				continue
			}
			content = resized(content, max(int64(len(content)), c.offset+int64(len(c.after))))
			copy(content[c.offset:], c.after)
		}
		left[name] = content
	}
	return left, lost, nil
}

func resized(content []byte, size int64) []byte {
	if size <= int64(len(content)) {
		return content[:size]
	}
	return append(content, make([]byte, size-int64(len(content)))...)
}

// powerCut ends the process and takes from the disk what was not synced.
func (s *sim) powerCut() {
	s.stopEngine()
	left, lost, err := s.disk.restart()
	s.journal.note("the power was cut, %d writes to the disk are lost", lost)
	if err == nil {
		err = replace(s.path, left)
	}
	if err != nil {
		s.violate("cut the power: %v", err)
	}
}

// restart tells what the power failure has left. From now on the disk is as that.
func (d *disk) restart() (left map[string][]byte, lost int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	left, d.left = d.left, nil
	clear(d.unsafe)
	return left, d.lost, d.err
}

// replace puts back what a power failure has left of a database, which nobody has open.
func replace(path string, left map[string][]byte) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		name := path + suffix
		content, there := left[name]
		if there {
			if err := os.WriteFile(name, content, 0o600); err != nil {
				return err
			}
			continue
		}
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
