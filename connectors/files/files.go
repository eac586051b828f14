// Package files is the connector for systems of record that have nothing but files: CSV in a folder, of this machine or
// reached by SFTP.
//
//	in/levels-20261126T013000Z.csv    what there is of every article at every location, as of the instant in the name
//	in/events-20261126T014500Z.csv    what happened since the events file before
//	out/order-….csv, cancel-…, amend-…   what the system of record is told; it takes the files away
//	archive/, error/, sent/           what was taken, what could not be read with the reasons, what was told
//
// The instants in the names are the order in which the system of record wrote the files: a file of levels contains
// every event of the files before it. They make the positions of facts, so that nothing is counted twice or not at all,
// also when a file arrives late. A file is read only when it is whole: it is written under another name and renamed, or
// it rests unchanged for a while, and of levels the last line proves that no row is missing.
package files

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// The settings of a connection.
const (
	settingFolder    = "folder"
	settingPassword  = "password"
	settingKey       = "private_key"
	settingHostKey   = "host_key"
	settingLevels    = "levels"
	settingSeparator = "separator"
	settingEnd       = "end_line"
	settingRest      = "rest"
	settingLocation  = "location"
)

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "files",
		Title: "CSV files in a folder or over SFTP",
		Roles: []connectors.Role{connectors.SystemOfRecordRole},
		Fields: []connectors.Field{
			{Name: settingFolder, Required: true, Help: "The folder: a path of this machine, or sftp://user@host:22/path. Below it are in, out, archive, error and sent; they are made when they are missing."},
			{Name: settingPassword, Secret: true, Help: "Password at the SFTP server."},
			{Name: settingKey, Secret: true, Help: "Private key for the SFTP server, in the form of OpenSSH; in the place of a password."},
			{Name: settingHostKey, Help: "The SFTP server's public key, as in known_hosts behind the host: such as ssh-ed25519 AAAA…. Needed for sftp: another server is refused."},
			{Name: settingLevels, Default: string(stock.OnHandBasis), Help: "What the quantities of levels mean: on_hand, with what is sold and not yet sent, or available, without it."},
			{Name: settingSeparator, Default: ",", Help: "What stands between the columns: a comma, a semicolon or tab."},
			{Name: settingEnd, Default: "required", Help: "Whether a file of levels must end with the line #end and the number of its rows: required or optional. Without it a file that was cut off cannot be told from a whole one."},
			{Name: settingRest, Default: "10s", Help: "For how long a file must have been left unchanged before it is read, such as 10s; 0s where files are always renamed into place."},
			{Name: settingLocation, Default: "main", Help: "The location of rows that name none."},
		},
		Open: open,
		Guide: connectors.Guide{
			Versions: "CSV (RFC 4180) in UTF-8, with a header",
			Bases:    []stock.Basis{stock.OnHandBasis, stock.AvailableBasis},
			Setup: []string{
				"Let the system export all levels, at least daily, to in/levels-YYYYMMDDTHHMMSSZ.csv with the columns sku, quantity and, where there are several, location; the instant in the name is when the export began, in UTC. Let it end with a line `#end,N`, N being the number of rows.",
				"Let it export what happens to in/events-YYYYMMDDTHHMMSSZ.csv with the columns kind, id, order_key, line_id, sku, location, quantity, and where it has them sellable, carrier, tracking. The kinds are shipped, received, adjusted, returned, allocated, deallocated and rejected.",
				"Let it take out/order-….csv, out/cancel-….csv and out/amend-….csv, and delete or move what it has taken. The key of an order identifies it: the same key again is the same order.",
				"For SFTP, give it an account of its own that sees this folder alone, and write the server's public key into `host_key`.",
			},
			Can:    []string{"levels with a proof that they are whole", "shipments, receipts, adjustments, returns, allocations and rejections", "new orders, cancellations in part and amendments, each as a file that is written once"},
			Cannot: []string{"list the names of articles: only their SKUs, from the levels", "know that the system has taken a file and could not read it"},
			Limits: []string{"A file has at most 64 MiB.", "A file with a row that makes no sense is not used at all: it goes to error/ with a file that names every such line."},
			Evidence: []connectors.Evidence{
				{By: connectors.LiveTest, What: "the whole suite, and files that are late, cut off, malformed or renamed, on a real file system", Test: "connectors/files TestConformance"},
				{By: connectors.LiveTest, What: "the same over a real SSH connection", Test: "connectors/files TestConformanceOverSFTP"},
			},
			Unproven: []string{"SFTP servers other than the one of github.com/pkg/sftp"},
		},
	}
}

var (
	_ connectors.SystemOfRecord = (*record)(nil)
	_ connectors.OrderAmender   = (*record)(nil)
)

// record is one connection.
type record struct {
	folder   folder
	basis    stock.Basis
	comma    rune
	endLine  bool
	rest     time.Duration
	location string

	// mu is held while files are moved. told are the files of events whose facts this process has given away, with the
	// sequence of the last.
	mu     sync.Mutex
	told   map[string]int64
	closed atomic.Bool
}

// open checks the settings; it does no I/O. The error names the setting.
func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if role != connectors.SystemOfRecordRole {
		return nil, fmt.Errorf("files cannot be a %s; their role is %s", role, connectors.SystemOfRecordRole)
	}
	r := &record{basis: stock.Basis(s[settingLevels]), location: s[settingLocation], told: make(map[string]int64)}
	if r.basis != stock.OnHandBasis && r.basis != stock.AvailableBasis {
		return nil, fmt.Errorf("%s is %q: write on_hand or available", settingLevels, r.basis)
	}
	switch separator := s[settingSeparator]; separator {
	case ",", ";":
		r.comma = rune(separator[0])
	case "tab", "\t":
		r.comma = '\t'
	default:
		return nil, fmt.Errorf("%s is %q: write a comma, a semicolon or tab", settingSeparator, separator)
	}
	switch s[settingEnd] {
	case "required":
		r.endLine = true
	case "optional":
	default:
		return nil, fmt.Errorf("%s is %q: write required or optional", settingEnd, s[settingEnd])
	}
	var err error
	if r.rest, err = time.ParseDuration(s[settingRest]); err != nil || r.rest < 0 || r.rest > time.Hour {
		return nil, fmt.Errorf("%s is %q: write a duration from 0s to 1h, such as 10s", settingRest, s[settingRest])
	}
	if r.location == "" {
		return nil, fmt.Errorf("%s is empty: write the location of rows that name none", settingLocation)
	}
	inner, err := openFolder(env, s)
	if err != nil {
		return nil, err
	}
	r.folder = &guarded{folder: inner, closed: &r.closed}
	return r, nil
}

func openFolder(env connectors.Env, s connectors.Settings) (folder, error) {
	path := s[settingFolder]
	switch {
	case path == "":
		return nil, fmt.Errorf("%s is empty: write a path, or sftp://user@host/path", settingFolder)
	case !strings.Contains(path, "://"):
		return localFolder(path), nil
	}
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "sftp" || u.Hostname() == "" || u.User.Username() == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%s is no address of a folder: write something like sftp://user@host:22/path", settingFolder)
	}
	if _, has := u.User.Password(); has {
		return nil, fmt.Errorf("%s holds a password: take it out and use the setting %s", settingFolder, settingPassword)
	}
	return newRemote(env, u, s)
}

// The folders, and the beginnings of the names of the files that come in.
const (
	inFolder      = "in"
	outFolder     = "out"
	archiveFolder = "archive"
	errorFolder   = "error"
	sentFolder    = "sent"

	levelsPrefix = "levels-"
	eventsPrefix = "events-"
)

// Check implements connectors.Connection.
func (r *record) Check(ctx context.Context) error {
	const op = "look into the folder"
	if _, err := r.folder.list(ctx, inFolder); err != nil {
		return failure(op, false, err)
	}
	return nil
}

// Close implements connectors.Connection.
func (r *record) Close() error {
	r.closed.Store(true)
	return r.folder.close()
}

// Capabilities implements connectors.SystemOfRecord.
func (r *record) Capabilities(ctx context.Context) (connectors.RecordCapabilities, error) {
	return connectors.RecordCapabilities{Basis: r.basis, Positions: true, CompleteLevels: r.endLine, AmendOrders: true}, ctx.Err()
}

// Locations implements connectors.SystemOfRecord: those that the newest levels name.
func (r *record) Locations(ctx context.Context) ([]connectors.Location, error) {
	l, err := r.newestLevels(ctx, "list locations")
	if err != nil {
		return nil, err
	}
	var out []connectors.Location
	seen := make(map[string]bool)
	for _, row := range l.rows {
		if !seen[row.Location] {
			seen[row.Location] = true
			out = append(out, connectors.Location{ID: row.Location})
		}
	}
	slices.SortFunc(out, func(a, b connectors.Location) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// Items implements connectors.SystemOfRecord: the SKUs that the newest levels name, on one page.
func (r *record) Items(ctx context.Context, _ connectors.Cursor) (connectors.Page[connectors.Item], error) {
	l, err := r.newestLevels(ctx, "list items")
	if err != nil {
		return connectors.Page[connectors.Item]{}, err
	}
	var page connectors.Page[connectors.Item]
	seen := make(map[string]bool)
	for _, row := range l.rows {
		if !seen[row.SKU] {
			seen[row.SKU] = true
			page.Rows = append(page.Rows, connectors.Item{SKU: row.SKU})
		}
	}
	return page, nil
}

// failure is the error of what went wrong with the folder. write is true where something may have been written.
func failure(op string, write bool, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, errAuth):
		return &connectors.Error{Kind: connectors.Auth, Op: op, Err: err}
	case errors.Is(err, errRefused):
		return &connectors.Error{Kind: connectors.Rejected, Op: op, Err: err}
	case write && !errors.Is(err, errNotReached):
		return &connectors.Error{Kind: connectors.Uncertain, Op: op, Err: err}
	default:
		return &connectors.Error{Kind: connectors.Retryable, Op: op, Err: err}
	}
}

// stamp reads the instant in the name of a file: behind the prefix, in UTC, perhaps with a number behind it that orders
// files of one second.
func stamp(name, prefix string) (time.Time, int64, bool) {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return time.Time{}, 0, false
	}
	rest, ok = strings.CutSuffix(rest, ".csv")
	if !ok {
		return time.Time{}, 0, false
	}
	text, number, numbered := strings.Cut(rest, "-")
	at, err := time.Parse("20060102T150405Z", text)
	if err != nil {
		return time.Time{}, 0, false
	}
	var n int64
	if numbered {
		if _, err := fmt.Sscanf(number, "%d", &n); err != nil || n < 0 || n >= filesPerSecond || fmt.Sprint(n) != strings.TrimLeft(number, "0") && n != 0 {
			return time.Time{}, 0, false
		}
	}
	return at, at.Unix()*filesPerSecond + n, true
}

const (
	filesPerSecond = 1000
	// rowsPerFile bounds the rows of a file of events: a fact's sequence is its file's place and its row.
	rowsPerFile = 1_000_000
)
