// Package pgtest gives tests a PostgreSQL of their own: one server for each
// test process, a fresh database for each test. It needs the programs of a
// PostgreSQL installation and nothing that already runs.
package pgtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver of the administrator's connection

	"eidgate/internal/need"
)

// Options of the server; each choice has a server of its own.
type Options struct {
	Fsync bool // write through to the disk, as production does; off is faster
}

// Database makes an empty database for one test and returns its URL for pgx.
// The database ends with the test, the server with the process. Without
// PostgreSQL the test is skipped, or fails if EIDGATE_REQUIRE_TOOLS is 1.
func Database(t testing.TB, o Options) (dsn string) {
	t.Helper()
	bin, err := findBin()
	if err != nil {
		need.Absent(t, "%v", err)
	}
	s, err := running(bin, o)
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	name := "t" + strconv.FormatInt(s.databases.Add(1), 10)
	if err := s.exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return s.url(name)
}

// Program is the path of one of the installation's programs, such as pg_dump.
// Without PostgreSQL the test is skipped, or fails, as with Database.
func Program(t testing.TB, name string) string {
	t.Helper()
	bin, err := findBin()
	if err != nil {
		need.Absent(t, "%v", err)
	}
	return filepath.Join(bin, name)
}

// servers of this process. Starting one takes a second, so tests share them.
var servers struct {
	sync.Mutex
	byOptions map[Options]*server
}

func running(bin string, o Options) (*server, error) {
	servers.Lock()
	defer servers.Unlock()
	if s, ok := servers.byOptions[o]; ok {
		return s, nil
	}
	s, err := start(bin, o)
	if err != nil {
		return nil, err
	}
	if servers.byOptions == nil {
		servers.byOptions = map[Options]*server{}
	}
	servers.byOptions[o] = s
	return s, nil
}

// findBin is the folder of the newest installation's programs.
func findBin() (string, error) {
	list, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(list) > 0 {
		version := func(path string) int {
			n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // 0 for what is no number
			return n
		}
		slices.SortFunc(list, func(a, b string) int { return version(b) - version(a) })
		return filepath.Dir(list[0]), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("no PostgreSQL programs found (package postgresql)")
	}
	return filepath.Dir(path), nil
}

type server struct {
	dir       string // data, socket and log
	alive     io.WriteCloser
	databases atomic.Int64
	admin     *sql.DB
}

const startTime = 60 * time.Second

// keeper runs the server until its own input ends, which happens when this
// process does, in whatever way, and then leaves nothing behind.
const keeper = `exec 3<&0
"$@" </dev/null 3<&- &
pid=$!
( read _ <&3; kill -QUIT $pid 2>/dev/null ) &
wait $pid
: > ended
read _ <&3
rm -rf "$PWD"
`

func start(bin string, o Options) (*server, error) {
	dir, err := os.MkdirTemp("", "pgtest") // short: a socket's path has at most 107 bytes
	if err != nil {
		return nil, err
	}
	attr, err := credential(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "test", // #nosec G204 -- a fixed program
		"--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w\n%s", err, out), os.RemoveAll(dir))
	}
	s := &server{dir: dir}
	if err := s.run(bin, data, attr, o); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.wait(ctx); err != nil {
		return nil, errors.Join(err, s.alive.Close())
	}
	return s, nil
}

// run starts the server on a socket in its own folder; it listens on no port.
func (s *server) run(bin, data string, attr *syscall.SysProcAttr, o Options) error {
	fsync := "off"
	if o.Fsync {
		fsync = "on"
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()                     // the child has its own
	cmd := exec.Command("/bin/sh", "-c", keeper, "keeper", // #nosec G204 -- a fixed program
		filepath.Join(bin, "postgres"), "-D", data, "-k", s.dir, "-h", "",
		"-c", "fsync="+fsync, "-c", "synchronous_commit="+fsync, "-c", "full_page_writes="+fsync,
		"-c", "max_connections=200", "-c", "shared_buffers=64MB")
	cmd.Dir, cmd.SysProcAttr = s.dir, attr
	cmd.Stdout, cmd.Stderr = log, log
	if s.alive, err = cmd.StdinPipe(); err != nil {
		return err
	}
	return cmd.Start()
}

// wait returns when the server answers.
func (s *server) wait(ctx context.Context) error {
	admin, err := sql.Open("pgx", s.url("postgres"))
	if err != nil {
		return err
	}
	s.admin = admin
	for admin.PingContext(ctx) != nil {
		_, err := os.Stat(filepath.Join(s.dir, "ended"))
		if err == nil || ctx.Err() != nil {
			out, _ := os.ReadFile(filepath.Join(s.dir, "log")) // best effort: that it ended is the error
			return fmt.Errorf("the server does not answer\n%s", out)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// credential lets a program run as another user where we are root, because
// PostgreSQL refuses root, and gives that user the folder. A group of its own
// keeps the terminal's interrupt away: the server ends after us, in order.
func credential(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() != 0 {
		return attr, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, os.Chown(dir, int(uid), int(gid))
}

func (s *server) url(database string) string {
	return "postgres:///" + database + "?user=test&host=" + url.QueryEscape(s.dir)
}

func (s *server) exec(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	if _, err := s.admin.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", strings.ToLower(statement), err)
	}
	return nil
}
