package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"eidgate/internal/seal"
)

// ErrMaster means that the master key is not the one that the database was
// sealed with.
var ErrMaster = errors.New("wrong master key")

// masters are the master keys that a node has. The first seals, each opens.
type masters struct {
	keys []*seal.Key
	ids  []string
}

func newMasters(all ...[]byte) (m masters, err error) {
	for _, raw := range all {
		if len(raw) == 0 { // there is no such one
			continue
		}
		key, err := seal.NewKey(raw)
		if err != nil {
			return m, fmt.Errorf("master key: %w", err)
		}
		m.keys, m.ids = append(m.keys, key), append(m.ids, masterID(raw))
	}
	if len(m.keys) == 0 {
		return m, errors.New("master key: there is none")
	}
	return m, nil
}

func (m masters) Seal(place string, value []byte) []byte { return m.keys[0].Seal(place, value) }

func (m masters) New(place string) (*seal.Key, []byte, error) { return m.keys[0].New(place) }

// Open is seal.Key.Open with whichever key fits; ErrMaster.
func (m masters) Open(place string, sealed []byte) (value []byte, err error) {
	value, _, err = m.open(place, sealed)
	return value, err
}

func (m masters) open(place string, sealed []byte) (value []byte, id string, err error) {
	for i, k := range m.keys {
		if value, err = k.Open(place, sealed); err == nil {
			return value, m.ids[i], nil
		}
	}
	return nil, "", fmt.Errorf("%w: %w", ErrMaster, err)
}

// Unwrap is seal.Key.Unwrap with whichever key fits.
func (m masters) Unwrap(place string, wrapped []byte) (*seal.Key, error) {
	raw, err := m.Open(place, wrapped)
	if err != nil {
		return nil, err
	}
	return seal.NewKey(raw)
}

// fits is nil where one of the keys has this id.
func (m masters) fits(id string) error {
	if slices.Contains(m.ids, id) {
		return nil
	}
	return fmt.Errorf("%w: the database has keys of master key %s, and this is %s", ErrMaster, id, strings.Join(m.ids, " or "))
}

// CheckMaster looks whether the master keys open the database: ErrMaster.
func (s *Store) CheckMaster(ctx context.Context) error {
	var wrong error
	err := s.query(ctx, func(r scanner) error {
		var id string
		err := r.Scan(&id)
		if wrong == nil {
			wrong = s.master.fits(id)
		}
		return err
	}, `SELECT DISTINCT master FROM account_key`)
	return errors.Join(err, wrong)
}

// mastered is where master keys have sealed something: a column of a table. What is read
// at a start stands first and last, so that a server with one key alone does not
// start on a database that a new one has sealed in part.
var mastered = []struct {
	masterRow
	first string // the smallest key that there may be
}{
	{masterRow{table: "audit_key", key: "number", column: "private"}, "0"},
	{masterRow{table: "account", key: "id", column: "secret"}, "''"},
	{masterRow{table: "api_key", key: "id", column: "sealed"}, "''"},
	{masterRow{table: "oidc_key", key: "id", column: "private"}, "''"},
	{masterRow{table: "account_key", key: "account", column: "wrapped"}, "''"},
	{masterRow{table: "secret", key: "name", column: "sealed"}, "''"},
}

// A MasterCount is how many values each master key has sealed, by its id; "" for
// those that none of ours opens.
type MasterCount map[string]int64

// Others is how many another one of our keys than the first has sealed.
func (s *Store) Others(n MasterCount) (others int64) {
	for _, id := range s.master.ids[1:] {
		others += n[id]
	}
	return others
}

// Masters is the ids of the master keys, that which seals first.
func (s *Store) Masters() []string { return s.master.ids }

const rewrapPage = 100 // rows that are read at once

// A masterRow is a row with a value that a master key has sealed.
type masterRow struct {
	table, key, column string
	row                any // its key
	sealed, value      []byte
	master             string // "" for one that none of ours opens
}

// CountMaster counts what is sealed with which master key.
func (s *Store) CountMaster(ctx context.Context) (MasterCount, error) {
	n := MasterCount{}
	return n, s.masterRows(ctx, func(r masterRow) error { n[r.master]++; return nil })
}

// Rewrap seals with the first master key what another one has sealed, row by row,
// so that it may be stopped anywhere and begun again. A row that somebody writes
// meanwhile is left to the next time. It gives what it has found, before.
func (s *Store) Rewrap(ctx context.Context) (MasterCount, error) {
	n := MasterCount{}
	return n, s.masterRows(ctx, func(r masterRow) error { n[r.master]++; return s.rewrap(ctx, r) })
}

func (s *Store) rewrap(ctx context.Context, r masterRow) error {
	if r.master == s.master.ids[0] || r.master == "" {
		return nil
	}
	set := r.column + " = $3"
	args := []any{r.row, r.sealed, s.master.Seal(r.place(), r.value)}
	if r.table == "account_key" {
		set, args = set+", master = $4", append(args, s.master.ids[0])
	}
	return s.batch(ctx, []statement{{q: "UPDATE " + r.table + " SET " + set + " WHERE " + r.key + " = $1 AND " + r.column + " = $2", args: args}})
}

func (r *masterRow) place() string { return seal.Place(r.table, fmt.Sprint(r.row), r.column) }

// masterRows calls each for all that master keys have sealed.
func (s *Store) masterRows(ctx context.Context, each func(masterRow) error) error {
	for _, of := range mastered {
		if err := s.masterRowsOf(ctx, of.masterRow, of.first, each); err != nil {
			return fmt.Errorf("what master keys have sealed in %s: %w", of.table, err)
		}
	}
	return nil
}

// masterRowsOf reads a table a page at a time, and none while each works.
func (s *Store) masterRowsOf(ctx context.Context, of masterRow, first string, each func(masterRow) error) error {
	after, args := " >= "+first, []any{rewrapPage}
	for {
		var page []masterRow
		err := s.query(ctx, func(r scanner) error {
			row := of
			err := r.Scan(&row.row, &row.sealed)
			page = append(page, row)
			return err
		}, "SELECT "+of.key+", "+of.column+" FROM "+of.table+" WHERE "+of.key+after+" ORDER BY "+of.key+" LIMIT 0 + $1", args...)
		if err != nil {
			return err
		}
		for _, r := range page {
			if len(r.sealed) == 0 {
				continue
			}
			r.value, r.master, _ = s.master.open(r.place(), r.sealed) // "" says so
			if err := each(r); err != nil {
				return err
			}
		}
		if len(page) < rewrapPage {
			return nil
		}
		after, args = " > $2", []any{rewrapPage, page[len(page)-1].row}
	}
}
