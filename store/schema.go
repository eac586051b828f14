package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	gooselock "github.com/pressly/goose/v3/lock"
)

// The migrations, one set per dialect with the same numbers. A migration that was released is never edited.
//
//go:embed migrations
var migrations embed.FS

// schemaTable is where goose notes which migrations ran.
const schemaTable = "schema_version"

// SchemaState says how a database's schema stands to the one that this binary knows.
type SchemaState string

// The states of a schema.
const (
	SchemaEmpty   SchemaState = "empty"   // nothing was created yet
	SchemaCurrent SchemaState = "current" // as this binary needs it
	SchemaOlder   SchemaState = "older"   // run truestock migrate
	SchemaNewer   SchemaState = "newer"   // made by a newer truestock: use that one
)

// Migrate brings the schema of the database at url to what this binary needs. Running it again changes nothing.
func Migrate(ctx context.Context, url string) error {
	s, err := Open(ctx, url, Options{})
	if err != nil {
		return err
	}
	return errors.Join(s.Migrate(ctx), s.Close())
}

// Migrate brings the schema to what this binary needs. It refuses a newer one.
func (s *Store) Migrate(ctx context.Context) error {
	state, err := s.SchemaState(ctx)
	switch {
	case err != nil:
		return err
	case state == SchemaCurrent:
		return nil
	case state == SchemaNewer:
		return errors.New("migrate the database: its schema is newer than this truestock; use the newer one")
	}
	provider, err := s.migrator()
	if err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate the database: %w", classify(err))
	}
	return nil
}

func (s *Store) migrator() (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations/"+string(s.dialect))
	if err != nil {
		return nil, err
	}
	options := []goose.ProviderOption{
		goose.WithTableName(schemaTable), goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true),
	}
	if s.dialect == sqlite {
		return goose.NewProvider(goose.DialectSQLite3, s.writeDB, files, options...)
	}
	locker, err := gooselock.NewPostgresSessionLocker(gooselock.WithLockID(migrateLock), gooselock.WithLockTimeout(1, 60))
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, s.writeDB, files, append(options, goose.WithSessionLocker(locker))...)
}

// SchemaState tells how the schema stands. It changes nothing.
func (s *Store) SchemaState(ctx context.Context) (SchemaState, error) {
	exists := "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '" + schemaTable + "')"
	if s.dialect == postgres {
		exists = "SELECT to_regclass('" + schemaTable + "') IS NOT NULL"
	}
	var found bool
	if err := s.readDB.QueryRowContext(ctx, exists).Scan(&found); err != nil {
		return "", fmt.Errorf("look at the schema: %w", classify(err))
	}
	if !found {
		return SchemaEmpty, nil
	}
	var have int64
	if err := s.readDB.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM "+schemaTable).Scan(&have); err != nil {
		return "", fmt.Errorf("look at the schema: %w", classify(err))
	}
	want, err := s.newestMigration()
	switch {
	case err != nil:
		return "", err
	case have == 0:
		return SchemaEmpty, nil
	case have < want:
		return SchemaOlder, nil
	case have > want:
		return SchemaNewer, nil
	default:
		return SchemaCurrent, nil
	}
}

func (s *Store) newestMigration() (int64, error) {
	files, err := migrations.ReadDir("migrations/" + string(s.dialect))
	if err != nil {
		return 0, fmt.Errorf("look at the schema: %w", err)
	}
	var newest int64
	for _, f := range files {
		version, err := goose.NumericComponent(f.Name())
		if err != nil {
			return 0, fmt.Errorf("look at the schema: %w", err)
		}
		newest = max(newest, version)
	}
	return newest, nil
}
