package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"eidgate/connector"
	"eidgate/eid"
)

// A Directory is the list of one contract as it is stored.
type Directory struct {
	Environment eid.Environment
	EID         eid.EID
	Contract    string
	List        connector.List
	Fetched     time.Time // zero while it could not be fetched yet
	Due         time.Time // when to look again
}

// A Contract is somebody's agreement with an eID, for which a list is kept.
type Contract struct {
	Environment eid.Environment
	EID         eid.EID
	Settings    connector.Settings
}

const (
	listFor   = 7 * 24 * time.Hour // until a list is fetched anew
	listAgain = time.Hour          // until the next try after one that failed
	listFirst = 15 * time.Second   // the same, while there is no list at all
	listLease = time.Minute        // for the node that fetches
	listStale = 10 * time.Second   // how long a node trusts what it has read
	listSoon  = 10 * time.Minute   // a list younger than that is not fetched anew, whoever says it is stale
)

// listKey names a list.
type listKey struct {
	env      eid.Environment
	eid      eid.EID
	contract string
}

func (k listKey) String() string { return string(k.env) + "/" + string(k.eid) + "/" + k.contract }

// keptList is what this node has read, and when.
type keptList struct {
	*Directory
	read time.Time
}

// list is what a person may choose from; nil while there is none. Storage is
// asked when this node has not looked for a while, the upstream only when
// nobody has ever had an answer.
func (b *Broker) list(ctx context.Context, conn connector.Connector, env eid.Environment, e eid.EID, s connector.Settings) (*connector.List, error) {
	lister, ok := conn.(connector.Lister)
	if !ok {
		return nil, nil
	}
	contract, err := lister.Contract(s)
	if err != nil {
		return nil, fmt.Errorf("contract of %s: %w", e, err)
	}
	if contract == "" {
		return nil, nil
	}
	d, err := b.directory(ctx, listKey{env, e, contract})
	if errors.Is(err, ErrNotFound) {
		d, err = b.fetchList(ctx, lister, listKey{env, e, contract}, s, nil)
	}
	if err != nil || d.Fetched.IsZero() {
		return nil, err
	}
	return &d.List, nil
}

// directory reads a list, from memory if that is fresh.
func (b *Broker) directory(ctx context.Context, k listKey) (*Directory, error) {
	if kept, ok := b.lists.Get(k); ok && time.Since(kept.read) < listStale {
		return kept.Directory, nil
	}
	d, err := b.c.Store.Directory(ctx, k.env, k.eid, k.contract)
	if err != nil {
		return nil, err
	}
	b.lists.Put(k, keptList{d, time.Now()})
	return d, nil
}

// fetchList asks the upstream, once however many want it. A list that is older
// than the one at hand is not taken, nor is an empty one; then, as when the
// upstream does not answer, the old one stays.
func (b *Broker) fetchList(ctx context.Context, lister connector.Lister, k listKey, s connector.Settings, old *Directory) (*Directory, error) {
	v, err, _ := b.fetching.Do(k.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
		defer cancel()
		if old == nil { // somebody else may have been here since this caller looked
			if d, err := b.c.Store.Directory(ctx, k.env, k.eid, k.contract); !errors.Is(err, ErrNotFound) {
				return d, err
			}
		}
		now := b.now()
		next := &Directory{Environment: k.env, EID: k.eid, Contract: k.contract, Due: now.Add(listFirst)}
		if old != nil && !old.Fetched.IsZero() {
			next.List, next.Fetched, next.Due = old.List, old.Fetched, now.Add(listAgain)
		}
		l, err := lister.List(ctx, s)
		result := "same"
		switch {
		case err != nil:
			result = "failed"
			b.c.Log.WarnContext(ctx, "list not fetched, the old one stays", "eid", k.eid, "environment", k.env, "fetched", next.Fetched, "error", err)
		case len(l.Groups) == 0:
			result = "empty"
			b.c.Log.WarnContext(ctx, "list is empty, the old one stays", "eid", k.eid, "environment", k.env)
		case l.Changed.Before(next.List.Changed):
			result = "older"
			b.c.Log.WarnContext(ctx, "list is older than the one at hand, which stays", "eid", k.eid, "environment", k.env)
		default:
			if !l.Changed.Equal(next.List.Changed) {
				result = "changed"
				next.List = *l
			}
			next.Fetched, next.Due = now, now.Add(listFor)
		}
		b.observe(Observation{Kind: "list", Session: &Session{EID: k.eid, Environment: k.env}, Result: result, At: next.Fetched})
		if err := b.c.Store.PutDirectory(ctx, next); err != nil {
			return nil, fmt.Errorf("store list: %w", err)
		}
		b.lists.Put(k, keptList{next, time.Now()})
		return next, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*Directory), nil //nolint:errcheck // the function above returns nothing else
}

// refresh fetches every list whose time has come, on one node each.
func (b *Broker) refresh(ctx context.Context) error {
	if b.c.Contracts == nil {
		return nil
	}
	seen := map[listKey]bool{}
	var errs []error
	for _, c := range b.c.Contracts() {
		lister, ok := b.connector(c.Environment, c.EID).(connector.Lister)
		if !ok {
			continue
		}
		contract, err := lister.Contract(c.Settings)
		k := listKey{c.Environment, c.EID, contract}
		if err != nil || contract == "" || seen[k] {
			errs = append(errs, err)
			continue
		}
		seen[k] = true
		errs = append(errs, b.refreshOne(ctx, lister, k, c.Settings))
	}
	return errors.Join(errs...)
}

func (b *Broker) refreshOne(ctx context.Context, lister connector.Lister, k listKey, s connector.Settings) error {
	old, err := b.c.Store.Directory(ctx, k.env, k.eid, k.contract)
	switch {
	case errors.Is(err, ErrNotFound):
		old = nil
	case err != nil:
		return err
	case old.Due.After(b.now()):
		return nil
	default:
		mine, err := b.c.Store.ClaimDirectory(ctx, old, b.now().Add(listLease))
		if err != nil || !mine {
			return err
		}
	}
	_, err = b.fetchList(ctx, lister, k, s, old)
	return err
}

// stale fetches a list anew because an upstream does not know what a person
// chose from it.
func (b *Broker) stale(ctx context.Context, conn connector.Connector, l *live) {
	lister, ok := conn.(connector.Lister)
	if !ok {
		return
	}
	set, err := b.c.Settings(ctx, l.session, l.order.EID, "")
	if err != nil {
		return // the call before has said so
	}
	contract, err := lister.Contract(set)
	if err != nil {
		return
	}
	k := listKey{l.order.Environment, l.order.EID, contract}
	old, err := b.c.Store.Directory(ctx, k.env, k.eid, k.contract)
	if err != nil || b.now().Sub(old.Fetched) < listSoon {
		return
	}
	if _, err := b.fetchList(ctx, lister, k, set, old); err != nil {
		b.c.Log.WarnContext(ctx, "stale list", "eid", k.eid, "error", err)
	}
}

// List is what people may choose from under these settings; ErrNotFound while
// there is nothing.
func (b *Broker) List(ctx context.Context, env eid.Environment, e eid.EID, s connector.Settings) (*connector.List, error) {
	l, err := b.list(ctx, b.connector(env, e), env, e, s)
	if err == nil && l == nil {
		err = ErrNotFound
	}
	return l, err
}

// refreshes looks after the lists until ctx ends.
func (b *Broker) refreshes(ctx context.Context) error {
	for {
		jumped := b.jumped()
		if err := b.refresh(ctx); err != nil && ctx.Err() == nil {
			b.c.Log.WarnContext(ctx, "lists not refreshed", "error", err)
		}
		if !b.pause(ctx, time.Minute, jumped, nil) {
			return nil
		}
	}
}
