// Package store keeps everything in SQLite or PostgreSQL, with one SQL text
// for both: parameters are $1, $2, times are microseconds UTC in BIGINT, 0 is
// no time. What is personal or secret is sealed before it is written
// (internal/seal); docs/storage.md lists the tables.
//
// SQLite has one writer, which commits up to 128 changes at once: the cost of
// a commit is a disk flush, and the flush is shared. A change that no longer
// fits is rolled back alone. PostgreSQL has a transaction for each change.
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"eidgate/api/oidc"
	"eidgate/broker"
	"eidgate/internal/cache"
	"eidgate/internal/seal"
	"eidgate/relying"
)

//go:embed schema/*.sql
var schema embed.FS

// Config says where the data are and which key opens them.
type Config struct {
	URL    string // "memory", "sqlite:FILE" or "postgres://…"
	Master []byte // 32 bytes
	Next   []byte // opens what nodes with a new master key have sealed; nil for none
	Former []byte // opens what is sealed with the one before, until Rewrap has found nothing more; nil for none
	Now    func() time.Time
	Log    *slog.Logger
	Look   bool // only to look at, beside the process that a file of SQLite belongs to
}

// A Store is open until Close. It is safe for concurrent use.
type Store struct {
	now     func() time.Time
	log     *slog.Logger
	master  masters
	homes   *cache.Cache[string, home]           // of sessions
	outer   *cache.Cache[string, *seal.Key]      // of accounts
	rows    *cache.Cache[string, broker.Session] // of sessions, as they were last written; SQLite only
	grants  *cache.Cache[[32]byte, oidc.Grant]   // that were written here and not redeemed yet, sealed, by their code
	seq     sequence
	dialect dialect

	// PostgreSQL only
	pool     *pgxpool.Pool
	convoy   *convoy
	versions *versions
	hints    chan string // nodes to hint at

	// SQLite only
	read   *sql.DB
	write  *sql.DB
	stmts  stmts
	writer *writer
	lock   *os.File
	beside string // how to write into a file that is only looked at; "" where it is ours

	callers  recent[[32]byte, relying.Caller] // by the hash of their key
	accounts recent[string, *relying.Account]
	keyTexts recent[string, string] // of keys, by their id
	clients  recent[string, *relying.Client]
	brought  brought
	secrets  secrets
}

// dialect is what must differ between the two databases.
type dialect struct {
	name  string
	skip  string // takes rows that nobody else has taken
	share string // holds a row that is read, against deletion
	table string // stands after a table's columns where its rows are small and found by their key alone
	rowid string // type of a number in whose order the rows stand
	clock string // the database's own time
	goose goose.Dialect
	ample string // lets a transaction's statements take as long as they need
}

var (
	sqlite   = dialect{"sqlite", "", "", " WITHOUT ROWID", "INTEGER", "CAST(unixepoch('subsec') * 1000000 AS INTEGER)", goose.DialectSQLite3, ""}
	postgres = dialect{"postgres", " FOR UPDATE SKIP LOCKED", " FOR SHARE", "", "BIGINT", "CAST(EXTRACT(EPOCH FROM now()) * 1000000 AS BIGINT)", goose.DialectPostgres, "SET LOCAL statement_timeout = 0"}
)

// Open connects; it changes nothing. See Migrate.
func Open(ctx context.Context, c Config) (*Store, error) {
	master, err := newMasters(c.Master, c.Next, c.Former)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{now: c.Now, log: c.Log, master: master,
		homes: cache.New[string, home](8192), outer: cache.New[string, *seal.Key](4096),
		rows: cache.New[string, broker.Session](4096), grants: cache.New[[32]byte, oidc.Grant](1024), brought: brought{some: map[string]bool{}},
		callers: newRecent[[32]byte, relying.Caller](), accounts: newRecent[string, *relying.Account](), keyTexts: newRecent[string, string](), clients: newRecent[string, *relying.Client](),
		hints: make(chan string, maxHints)}
	s.seq.init()
	begun := c.Master
	if len(c.Former) > 0 {
		begun = c.Former
	}
	if s.secrets, err = newSecrets(begun, c.Look); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	switch {
	case c.URL == "memory":
		err = s.openSQLite("file:/"+random()+"?vfs=memdb", "&_pragma=journal_mode(MEMORY)&_pragma=synchronous(OFF)")
	case strings.HasPrefix(c.URL, "sqlite:"):
		file := strings.TrimPrefix(c.URL, "sqlite:")
		if c.Look {
			if _, err = os.Stat(file); err == nil { // SQLite would not say which file it misses
				s.beside = sqliteURI(file) + "?mode=rw&_pragma=busy_timeout(5000)&_txlock=immediate"
				err = s.openSQLite(sqliteURI(file)+"?mode=rw", "&_pragma=query_only(1)")
			}
			break
		}
		err = s.openFile(file)
	case strings.HasPrefix(c.URL, "postgres://"), strings.HasPrefix(c.URL, "postgresql://"):
		err = s.openPostgres(ctx, c.URL)
	default:
		err = errors.New("the address must be memory, sqlite:FILE or postgres://…")
	}
	if err == nil {
		err = s.Ping(ctx)
	}
	if err == nil {
		err = s.encoded(ctx)
	}
	if err == nil {
		_, err = s.settled(ctx, 0) // our numbers go on from the server's time
	}
	if err != nil {
		_ = s.Close() // the first error is the one to tell
		return nil, fmt.Errorf("open store: %w", err)
	}
	if s.pool == nil {
		s.stmts.db = s.read
		s.writer = newWriter(s.write)
	}
	return s, nil
}

func (s *Store) openPostgres(ctx context.Context, url string) error {
	s.dialect = postgres
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return errors.New("the address of PostgreSQL cannot be read") // the parser's own text may hold the password
	}
	if cfg.ConnConfig.RuntimeParams["application_name"] == "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = "eidgate" // nodes know each other by it, see settled
	}
	if !strings.Contains(url, "pool_max_conns") {
		cfg.MaxConns = 16
	}
	for name, limit := range map[string]string{"statement_timeout": "5s", "idle_in_transaction_session_timeout": "10s"} { // so that nothing hangs on to a connection, or to rows
		if _, said := cfg.ConnConfig.RuntimeParams[name]; !said {
			cfg.ConnConfig.RuntimeParams[name] = limit
		}
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, cfg); err == nil {
		s.convoy = newConvoy(s.pool)
		s.versions = &versions{read: s.readVersions}
	}
	return err
}

// encoded refuses a database of PostgreSQL that cannot hold every letter: the first
// text with one that it lacks would fail long after the start. Our files of SQLite
// are all UTF-8.
func (s *Store) encoded(ctx context.Context) error {
	if s.pool == nil {
		return nil
	}
	name, encoding := s.pool.Config().ConnConfig.Database, ""
	if err := s.pool.QueryRow(ctx, `SHOW server_encoding`).Scan(&encoding); err != nil {
		return err
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the database %s has the encoding %s and needs UTF8: make another one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name that", name, encoding)
	}
	return nil
}

// Unverified is the host of an address of PostgreSQL that is called over a
// network, without TLS or without knowing its certificate; "" for none. What the
// environment says of connections (PGSSLMODE) counts as it does when they are made.
func Unverified(address string) (host string) {
	if strings.HasPrefix(address, "sqlite:") {
		return ""
	}
	cfg, err := pgconn.ParseConfig(address)
	if err != nil { // Open says so
		return ""
	}
	for _, to := range append([]*pgconn.FallbackConfig{{Host: cfg.Host, Port: cfg.Port, TLSConfig: cfg.TLSConfig}}, cfg.Fallbacks...) {
		network, _ := pgconn.NetworkAddress(to.Host, to.Port)
		ip, err := netip.ParseAddr(to.Host)
		if network == "unix" || to.Host == "localhost" || err == nil && ip.IsLoopback() {
			continue
		}
		if to.TLSConfig == nil || to.TLSConfig.InsecureSkipVerify && to.TLSConfig.VerifyPeerCertificate == nil {
			return to.Host
		}
	}
	return ""
}

func random() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// openFile takes the file for this process alone: two SQLite writers in two
// processes would each believe to be the only node. Pages that change with
// every login go into the file once for 16 MB of log. What is deleted is
// overwritten, or the key of an erased session would stay in free pages.
func (s *Store) openFile(path string) error {
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // named by the operator
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a descriptor fits
		_ = f.Close() // nothing was written
		return fmt.Errorf("%s is in use by another eidgate process", path)
	}
	s.lock = f
	db, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // as above; SQLite would let everybody read it
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		return err
	}
	return s.openSQLite(sqliteURI(path)+"?", "&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(4000)&_pragma=secure_delete(1)")
}

// sqliteURI names a file as SQLite's URIs do, whatever its name holds.
func sqliteURI(path string) string {
	return "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
}

func (s *Store) openSQLite(name, pragmas string) (err error) {
	s.dialect = sqlite
	const common = "&_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_pragma=temp_store(MEMORY)"
	if s.write, err = sql.Open("sqlite", name+pragmas+common+"&_txlock=immediate"); err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	if s.read, err = sql.Open("sqlite", name+pragmas+common); err != nil {
		return err
	}
	s.read.SetMaxOpenConns(4)
	s.read.SetMaxIdleConns(4)
	return nil
}

// Close waits for what is being written.
func (s *Store) Close() error {
	var errs []error
	if s.writer != nil {
		s.writer.stop()
	}
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.pool != nil {
		s.pool.Close()
	}
	if s.lock != nil { // closing alone would leave it to a program that is just being started
		errs = append(errs, syscall.Flock(int(s.lock.Fd()), syscall.LOCK_UN), s.lock.Close()) //nolint:gosec // a descriptor fits
	}
	return errors.Join(errs...)
}

// Alone forgets all nodes where the database belongs to this process alone:
// whoever had orders before has ended, and nobody need wait for that to show.
// It does nothing on PostgreSQL.
func (s *Store) Alone(ctx context.Context) error {
	if s.pool != nil {
		return nil
	}
	return s.batch(ctx, []statement{{q: `DELETE FROM node`}})
}

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if s.pool != nil {
		return s.pool.Ping(ctx)
	}
	return s.read.PingContext(ctx)
}

// migrations are the files of schema/, each in a transaction of its own.
func (s *Store) migrations() (p *goose.Provider, done func() error, err error) {
	files, err := fs.Glob(schema, "schema/*.sql")
	if err != nil {
		return nil, nil, err
	}
	var all []*goose.Migration
	for _, f := range files {
		text, err := schema.ReadFile(f)
		if err != nil {
			return nil, nil, err
		}
		version, err := schemaVersion(f)
		if err != nil {
			return nil, nil, err
		}
		sql := strings.NewReplacer(" /* small */", s.dialect.table, "BIGINT /* rowid */", s.dialect.rowid).Replace(string(text))
		all = append(all, goose.NewGoMigration(version, &goose.GoFunc{RunTx: s.runAll(version, strings.Split(sql, ";\n"))}, nil))
	}
	db := s.write
	if s.pool != nil {
		db = stdlib.OpenDBFromPool(s.pool)
		done = db.Close
	} else {
		s.writer.release()
		done = func() error { s.writer.acquire(); return nil }
	}
	p, err = goose.NewProvider(s.dialect.goose, db, nil, goose.WithGoMigrations(all...), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return p, done, nil
}

// errApplied means that another process has applied a change of the schema
// that this one was about to apply.
var errApplied = errors.New("applied by another process")

func (s *Store) runAll(version int64, statements []string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		if s.pool != nil { // nodes may be told to migrate at the same time; one after another then
			for _, q := range []string{s.dialect.ample, `LOCK TABLE goose_db_version IN SHARE ROW EXCLUSIVE MODE`} {
				if _, err := tx.ExecContext(ctx, q); err != nil {
					return err
				}
			}
			var n int
			if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM goose_db_version WHERE version_id = $1 AND is_applied`, version).Scan(&n); err != nil {
				return err
			}
			if n > 0 {
				return errApplied
			}
		}
		for _, q := range statements {
			if strings.TrimSpace(q) == "" {
				continue
			}
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return err
			}
		}
		return nil
	}
}

// start is the schema that the changes begin with. What had an earlier one was
// never released.
const start = 6

// Migrate applies all changes of the schema.
func (s *Store) Migrate(ctx context.Context) error {
	if err := s.untaken(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	p, done, err := s.migrations()
	if err == nil {
		var version int64
		if version, err = p.GetDBVersion(ctx); err == nil && 0 < version && version < start {
			err = fmt.Errorf("the database has schema %d, which no release had: start with an empty one", version)
		}
		for again := err == nil; again; again = errors.Is(err, errApplied) {
			_, err = p.Up(ctx)
		}
		err = errors.Join(err, done())
	}
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if s.pool != nil {
		s.pool.Reset() // what was prepared knows the tables as they were
	}
	return nil
}

// untaken says whether a file in which we have no tables is ours to make them in. In
// PostgreSQL others may have theirs beside ours.
func (s *Store) untaken(ctx context.Context) error {
	if s.pool != nil {
		return nil
	}
	var others int
	err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '_litestream_%'
		AND NOT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'goose_db_version')`).Scan(&others)
	if err == nil && others > 0 {
		err = errors.New("the file holds the tables of another program: name another file")
	}
	return err
}

// Unknown counts changes of the schema that a newer version than this one has
// applied. It is for a database in which nothing is pending.
func (s *Store) Unknown(ctx context.Context) (int, error) {
	files, err := fs.Glob(schema, "schema/*.sql")
	if err != nil {
		return 0, err
	}
	var n int
	newest, err := schemaVersion(files[len(files)-1]) // they are in order
	if err == nil {
		err = s.get(ctx, []any{&n}, `SELECT count(*) FROM goose_db_version WHERE version_id > $1`, newest)
	}
	if err != nil {
		return 0, fmt.Errorf("migration status: %w", err)
	}
	return n, nil
}

// schemaVersion is the number in the name of a file of schema/.
func schemaVersion(file string) (int64, error) {
	number, _, _ := strings.Cut(strings.TrimPrefix(file, "schema/"), "_")
	version, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("migration %s: %w", file, err)
	}
	return version, nil
}

// Pending counts changes of the schema that are not applied.
func (s *Store) Pending(ctx context.Context) (int, error) {
	p, done, err := s.migrations()
	if err != nil {
		return 0, fmt.Errorf("migration status: %w", err)
	}
	if s.beside != "" { // a new file has no list of changes, and is only looked at
		var n int
		err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE name = 'goose_db_version'`).Scan(&n)
		if err != nil || n == 0 {
			return len(p.ListSources()), errors.Join(err, done())
		}
	}
	st, err := p.Status(ctx)
	if err = errors.Join(err, done()); err != nil {
		return 0, fmt.Errorf("migration status: %w", err)
	}
	n := 0
	for _, m := range st {
		if m.State == goose.StatePending {
			n++
		}
	}
	return n, nil
}

// stmts keeps prepared statements of the read side.
type stmts struct {
	db *sql.DB
	m  sync.Map // text → *sql.Stmt
}

func (c *stmts) get(ctx context.Context, text string) (*sql.Stmt, error) {
	if st, ok := c.m.Load(text); ok {
		return st.(*sql.Stmt), nil
	}
	st, err := c.db.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	if old, loaded := c.m.LoadOrStore(text, st); loaded {
		_ = st.Close() //nolint:sqlclosecheck // somebody was quicker; the other one stays open
		return old.(*sql.Stmt), nil
	}
	return st, nil
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func moment(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
