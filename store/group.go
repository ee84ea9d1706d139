package store

import (
	"errors"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A group is statements that PostgreSQL runs as one: those of a batch that
// follow each other and are apart.
type group []statement

func grouped(all []statement) (groups []group) {
	for i := 0; i < len(all); {
		n := i + 1
		for all[i].apart && n < len(all) && all[n].apart {
			n++
		}
		groups = append(groups, all[i:n])
		i = n
	}
	return groups
}

// plain is true of a statement of which nobody asks what it changes.
func (g group) plain() bool { return len(g) == 1 && !g[0].counted() }

// query is the group as one statement. It has one row: how many rows each of the group has
// changed that is asked for that, or must change so many. One that does not change
// what it must fails, and the transaction with it, since nobody looks before its
// end. It fails by reading as a number what operators shall read in PostgreSQL's log.
func (g group) query() (string, []any) {
	if g.plain() {
		return g[0].q, g[0].args
	}
	var with, counts strings.Builder
	var args []any
	for i := range g {
		st, name := &g[i], strconv.Itoa(i)
		with.WriteString(", w" + name + " AS (")
		placed(&with, st.q, len(args))
		args = append(args, st.args...)
		if st.counted() {
			with.WriteString(" RETURNING 1")
			count := "(SELECT COUNT(*) FROM w" + name + ")"
			if st.one != "" {
				want := strconv.FormatInt(st.must(), 10)
				count = "CASE " + count + " WHEN " + want + " THEN " + want + " ELSE CAST('" + lost + name + losing + "' || " + count + " AS BIGINT) END"
			}
			counts.WriteString(", " + count)
		}
		with.WriteString(")")
	}
	if counts.Len() == 0 {
		counts.WriteString(", 1")
	}
	return "WITH " + with.String()[2:] + " SELECT " + counts.String()[2:], args
}

// placed writes a statement whose first argument is number after+1.
func placed(b *strings.Builder, q string, after int) {
	if after == 0 {
		b.WriteString(q)
		return
	}
	for {
		text, rest, found := strings.Cut(q, "$")
		b.WriteString(text)
		if !found {
			return
		}
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, _ := strconv.Atoi(rest[:digits]) // our statements have $ before a number only
		b.WriteString("$" + strconv.Itoa(n+after))
		q = rest[digits:]
	}
}

// counted says whether it matters how many rows the statement changes.
func (st *statement) counted() bool { return st.one != "" || st.changed != nil }

// read takes the answer to query.
func (g group) read(res pgx.BatchResults) (err error) {
	if g.plain() {
		_, err = res.Exec()
		return err
	}
	var all []any
	for i := range g {
		switch st := &g[i]; {
		case st.changed != nil:
			all = append(all, st.changed)
		case st.one != "":
			all = append(all, nil)
		}
	}
	if len(all) == 0 {
		all = append(all, nil) // the 1
	}
	return g.refused(res.QueryRow().Scan(all...))
}

// A guard complains of the statement with a number, and then says how many rows
// it has changed.
const (
	lost   = "eidgate: somebody else was quicker, no harm done; statement "
	losing = " changed rows: "
)

// refused is the error of a group, of which one may not have found what it must.
func (g group) refused(err error) error {
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) {
		for i := range g {
			if g[i].one != "" && strings.Contains(e.Message, lost+strconv.Itoa(i)+losing) {
				return g[i].check(0)
			}
		}
	}
	return err
}
