package store

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"eidgate/broker"
	"eidgate/internal/seal"
)

// A Subject is a sub that an account brings along: the name that a person had
// with its former provider. It is personal data.
type Subject struct {
	IDP    string // the eID's code, as acr_values has it: "sbid"
	Person string // what the eID calls the person
	Sub    string
}

// LogValue shows of which eID a name is, never whose.
func (n Subject) LogValue() slog.Value { return slog.StringValue(n.String()) }

func (n Subject) String() string { return "subject of " + n.IDP }

// Person is the hash that a person is found by. A number of few digits could
// be guessed from a hash without a key.
func (s *Store) Person(account, idp, name string) [sha256.Size]byte {
	h := hmac.New(sha256.New, s.secrets.of[persons])
	for _, part := range []string{account, idp, name} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func subjectPlace(account, idp string, person []byte) string {
	return seal.Place("oidc_subject", fmt.Sprintf("%s/%s/%x", account, idp, person), "sub")
}

// brought knows of accounts whether they have brought names along, which few
// have: so most logins look for none. Only where the database belongs to this
// process, since an import counts from the next login on.
type brought struct {
	mu   sync.Mutex
	some map[string]bool
}

// mayName says whether an account's persons may have names.
func (s *Store) mayName(ctx context.Context, account string) (bool, error) {
	if s.pool != nil {
		return true, nil
	}
	s.brought.mu.Lock() // for the look too: an import that begins meanwhile has the last word
	defer s.brought.mu.Unlock()
	some, known := s.brought.some[account]
	if known {
		return some, nil
	}
	err := s.query(ctx, func(scanner) error { some = true; return nil }, `SELECT 1 FROM oidc_subject WHERE account = $1 LIMIT 1`, account)
	if err == nil {
		s.brought.some[account] = some
	}
	return some, err
}

// PutSubjects writes names that an account brings along, all or none. A person
// who has one gets the new one. That no two persons have the same name is the
// caller's to see to. The audit trail has that there were some.
func (s *Store) PutSubjects(ctx context.Context, account string, names ...Subject) error {
	key, err := s.accountKey(ctx, account)
	if err != nil {
		return err
	}
	if _, err := s.AuditHead(ctx); err != nil { // our numbers go on above it
		return err
	}
	s.brought.mu.Lock()
	s.brought.some[account] = true // before anybody can find one
	s.brought.mu.Unlock()
	all := make([]statement, len(names))
	for i, n := range names {
		h := s.Person(account, n.IDP, n.Person)
		all[i] = statement{q: `INSERT INTO oidc_subject (account, idp, person, sub) VALUES ($1, $2, $3, $4)
			ON CONFLICT (account, idp, person) DO UPDATE SET sub = excluded.sub`,
			args: []any{account, n.IDP, h[:], key.Seal(subjectPlace(account, n.IDP, h[:]), []byte(n.Sub))}}
	}
	return s.configure(ctx, len(all) > 0, account, "subject.put", all)
}

// subjectPage is how many names one statement reads: a million take longer than
// a statement may.
const subjectPage = 1000

// Subjects walks over the names that an account has brought along, one at a
// time and in no order. person is what Person makes.
func (s *Store) Subjects(ctx context.Context, account string, each func(person [sha256.Size]byte, sub string) error) error {
	var key *seal.Key // there is none before the first name
	idp, person := "", []byte{}
	for n := subjectPage; n == subjectPage; {
		n = 0
		err := s.query(ctx, func(r scanner) error {
			n++
			var sealed []byte
			err := r.Scan(&idp, &person, &sealed)
			if err == nil && len(person) != sha256.Size {
				err = errors.New("a person's hash is not one")
			}
			if err == nil && key == nil {
				key, err = s.accountKey(ctx, account)
			}
			if err != nil {
				return err
			}
			sub, err := key.Open(subjectPlace(account, idp, person), sealed)
			if err != nil {
				return err
			}
			return each([sha256.Size]byte(person), string(sub))
		}, `SELECT idp, person, sub FROM oidc_subject WHERE account = $1 AND (idp, person) > ($2, $3) ORDER BY idp, person LIMIT $4`,
			account, idp, person, subjectPage)
		if err != nil {
			return fmt.Errorf("read subjects: %w", err)
		}
	}
	return nil
}

// Subject implements oidc.Store.
func (s *Store) Subject(ctx context.Context, account, idp, name string) (string, error) {
	if some, err := s.mayName(ctx, account); err != nil || !some {
		return "", err
	}
	h := s.Person(account, idp, name)
	var sealed []byte
	err := s.get(ctx, []any{&sealed}, `SELECT sub FROM oidc_subject WHERE account = $1 AND idp = $2 AND person = $3`, account, idp, h[:])
	if errors.Is(err, broker.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read subject: %w", err)
	}
	key, err := s.accountKey(ctx, account)
	if err != nil {
		return "", err
	}
	sub, err := key.Open(subjectPlace(account, idp, h[:]), sealed)
	if err != nil {
		return "", fmt.Errorf("read subject: %w", err)
	}
	return string(sub), nil
}
