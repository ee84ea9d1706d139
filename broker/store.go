package broker

import (
	"context"
	"errors"
	"time"

	"eidgate/connector"
	"eidgate/eid"
)

// What callers decide on.
var (
	ErrNotFound  = errors.New("no such session")
	ErrConflict  = errors.New("the row has changed meanwhile")
	ErrMove      = errors.New("the session is in another state")
	ErrElsewhere = errors.New("the session belongs to another browser")
	ErrOften     = errors.New("the account has named the person too often")
	ErrOpen      = errors.New("the account has too many open sessions for the person")
)

// A Store keeps sessions. Every method is safe for concurrent use. Sealed
// values go in and come out as plain bytes; the store never writes them so.
type Store interface {
	// Apply makes one change. It raises Session.Version and Order.Fence of
	// the rows that it is given. ErrConflict: a row was not as it was read,
	// and nothing has changed.
	Apply(ctx context.Context, c *Change) error

	// Session reads a row; ErrNotFound also for erased ones that have left
	// nothing to read.
	Session(ctx context.Context, id string) (*Session, error)
	// Version is the row's version, read at the lowest price; ErrNotFound.
	Version(ctx context.Context, id string) (int64, error)
	// Order reads an order with its body; ErrNotFound.
	Order(ctx context.Context, id string) (*Order, error)
	// Data reads and opens one blob; ErrNotFound when absent or erased.
	Data(ctx context.Context, session, kind string) ([]byte, error)
	// Evidence reads and opens all blobs under DataEvidence, by name.
	Evidence(ctx context.Context, session string) ([]eid.Evidence, error)
	// Notes reads the timeline in order. That it was created is its first line,
	// and the only one that no Change writes.
	Notes(ctx context.Context, session string) ([]Note, error)
	// Find reads the order that an upstream calls so, with its body; ErrNotFound.
	Find(ctx context.Context, e eid.EID, env eid.Environment, ref connector.Ref) (*Order, error)
	// Refs lists the upstream's names for the session's orders, in order of
	// their creation.
	Refs(ctx context.Context, session string) ([]connector.Ref, error)

	// Due lists sessions whose Due has come, oldest first, from behind a mark.
	Due(ctx context.Context, now time.Time, after Mark, limit int) ([]*Session, error)
	// Orphans lists the ids of running orders whose owner has not beaten for so
	// long, or is not known at all, in their order from behind one of them.
	Orphans(ctx context.Context, silent time.Duration, after string, limit int) ([]string, error)
	// ClaimDuty takes the duty that is due first and puts its time off, so
	// that no other node sees to it meanwhile; nil if none is due.
	ClaimDuty(ctx context.Context, now, until time.Time) (*Duty, error)
	// SettleDuty replaces a claimed duty by what is owed next, or ends it.
	SettleDuty(ctx context.Context, d *Duty, next *connector.Duty, a Audit) error
	// Directory reads a list; ErrNotFound.
	Directory(ctx context.Context, env eid.Environment, e eid.EID, contract string) (*Directory, error)
	// ClaimDirectory puts the time of a list off, if it is still as read.
	ClaimDirectory(ctx context.Context, d *Directory, until time.Time) (bool, error)
	// PutDirectory writes a list over the one before.
	PutDirectory(ctx context.Context, d *Directory) error
	// Inbox lists messages for the orders of an owner, oldest first, from behind
	// one of them. Event is nil where it does not open, which is
	// logged, and where it was erased meanwhile.
	Inbox(ctx context.Context, owner string, after int64, limit int) ([]Message, error)
	// Beat says that a node lives. The first beat of an epoch registers it. When
	// that was is known to the store alone: the clocks of two nodes may differ.
	Beat(ctx context.Context, epoch string) error
	// Alive says whether a node has beaten within the time given.
	Alive(ctx context.Context, epoch string, within time.Duration) (bool, error)
	// Leave forgets a node that has stopped in order.
	Leave(ctx context.Context, epoch string) error
}
