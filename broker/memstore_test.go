package broker_test

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"eidgate/broker"
	"eidgate/connector"
	"eidgate/eid"
)

// memory is the Store contract in its plainest form, for tests of the engine:
// maps under one lock. TestStoryOnRealStores runs the story on the real ones.
type memory struct {
	mu       sync.Mutex
	sessions map[string]broker.Session
	orders   map[string]broker.Order
	data     map[string]map[string][]byte
	notes    map[string][]broker.Note
	audit    map[string][]broker.Audit
	refs     map[string]string
	bySes    map[string][]connector.Ref
	inbox    []broker.Message
	last     int64
	beats    map[string]time.Time
	outbox   []broker.Delivery
	duties   map[string]broker.Duty
	lists    map[string]broker.Directory
}

func newStore(*testing.T) broker.Store {
	return &memory{sessions: map[string]broker.Session{}, orders: map[string]broker.Order{},
		data: map[string]map[string][]byte{}, notes: map[string][]broker.Note{}, audit: map[string][]broker.Audit{}, refs: map[string]string{},
		bySes: map[string][]connector.Ref{}, beats: map[string]time.Time{},
		duties: map[string]broker.Duty{}, lists: map[string]broker.Directory{}}
}

func (m *memory) Apply(_ context.Context, c *broker.Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := c.Session; s != nil && m.sessions[s.ID].Version != s.Version {
		return broker.ErrConflict
	}
	if o := c.Order; o != nil && m.orders[o.ID].Fence != o.Fence {
		return broker.ErrConflict
	}
	for _, d := range c.Data {
		if old, ok := m.data[c.ID][d.Kind]; ok && string(old) != string(d.Value) {
			return broker.ErrConflict
		}
	}
	if c.Session != nil {
		c.Session.Version++
		m.sessions[c.ID] = *c.Session
	}
	if o := c.Order; o != nil {
		o.Fence++
		m.orders[o.ID] = *o
		for _, r := range c.Refs {
			m.refs[string(o.EID)+string(o.Environment)+string(r)] = o.ID
			m.bySes[c.ID] = append(m.bySes[c.ID], r)
		}
	}
	for _, d := range c.Data {
		if m.data[c.ID] == nil {
			m.data[c.ID] = map[string][]byte{}
		}
		m.data[c.ID][d.Kind] = d.Value
	}
	m.notes[c.ID] = append(m.notes[c.ID], c.Notes...)
	m.audit[c.ID] = append(m.audit[c.ID], c.Audit...)
	m.outbox = append(m.outbox, c.Outbox...)
	for _, d := range c.Duties {
		if _, known := m.duties[d.ID]; !known {
			m.duties[d.ID] = d
		}
	}
	for _, p := range c.Put {
		m.last++
		p.ID = m.last
		m.inbox = append(m.inbox, p)
	}
	m.inbox = slices.DeleteFunc(m.inbox, func(x broker.Message) bool { return slices.Contains(c.Took, x.ID) })
	if c.Erase {
		delete(m.data, c.ID)
	}
	return nil
}

func (m *memory) Version(_ context.Context, id string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.sessions[id]; ok {
		return s.Version, nil
	}
	return 0, broker.ErrNotFound
}

func (m *memory) Session(_ context.Context, id string) (*broker.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[id]
	if !ok {
		return nil, broker.ErrNotFound
	}
	return &s, nil
}

func (m *memory) Order(_ context.Context, id string) (*broker.Order, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.orders[id]
	if !ok {
		return nil, broker.ErrNotFound
	}
	return &o, nil
}

func (m *memory) Data(_ context.Context, session, kind string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.data[session][kind]
	if !ok {
		return nil, broker.ErrNotFound
	}
	return d, nil
}

func (m *memory) Evidence(_ context.Context, session string) ([]eid.Evidence, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []eid.Evidence
	for kind, raw := range m.data[session] {
		if !strings.HasPrefix(kind, broker.DataEvidence) {
			continue
		}
		e, err := broker.Data{Kind: kind, Value: raw}.Evidence()
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b eid.Evidence) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (m *memory) Notes(_ context.Context, session string) ([]broker.Note, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := broker.Note{At: m.sessions[session].Created, Kind: "state", Text: "created"}
	return append([]broker.Note{first}, m.notes[session]...), nil
}

func (m *memory) Find(ctx context.Context, e eid.EID, env eid.Environment, ref connector.Ref) (*broker.Order, error) {
	m.mu.Lock()
	id := m.refs[string(e)+string(env)+string(ref)]
	m.mu.Unlock()
	return m.Order(ctx, id)
}

func (m *memory) Refs(_ context.Context, session string) ([]connector.Ref, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.bySes[session]), nil
}

func (m *memory) Due(_ context.Context, now time.Time, after broker.Mark, limit int) ([]*broker.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*broker.Session
	behind := func(a, b broker.Mark) int { return cmp.Or(a.Due.Compare(b.Due), strings.Compare(a.ID, b.ID)) }
	for _, s := range m.sessions {
		if !s.Due.IsZero() && !s.Due.After(now) && behind(broker.Mark{Due: s.Due, ID: s.ID}, after) > 0 {
			out = append(out, &s)
		}
	}
	slices.SortFunc(out, func(a, b *broker.Session) int {
		return behind(broker.Mark{Due: a.Due, ID: a.ID}, broker.Mark{Due: b.Due, ID: b.ID})
	})
	return out[:min(limit, len(out))], nil
}

func (m *memory) Orphans(_ context.Context, silent time.Duration, after string, limit int) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for id, o := range m.orders {
		if !o.Ended && time.Since(m.beats[o.Owner]) > silent && id > after {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out[:min(limit, len(out))], nil
}

func (m *memory) Inbox(_ context.Context, owner string, after int64, limit int) ([]broker.Message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []broker.Message
	for _, msg := range m.inbox {
		if m.orders[msg.Order].Owner == owner && msg.ID > after && len(out) < limit {
			out = append(out, msg)
		}
	}
	return out, nil
}

func (m *memory) Beat(_ context.Context, epoch string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.beats[epoch] = time.Now()
	return nil
}

func (m *memory) Alive(_ context.Context, epoch string, within time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.beats[epoch]) < within, nil
}

func (m *memory) Leave(_ context.Context, epoch string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.beats, epoch)
	return nil
}

func (m *memory) ClaimDuty(_ context.Context, now, until time.Time) (*broker.Duty, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var first *broker.Duty
	for _, d := range m.duties {
		if !d.Due.After(now) && (first == nil || d.Due.Before(first.Due)) {
			first = &d
		}
	}
	if first != nil {
		first.Due = until
		m.duties[first.ID] = *first
	}
	return first, nil
}

func (m *memory) SettleDuty(_ context.Context, d *broker.Duty, next *connector.Duty, a broker.Audit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.audit[d.Session] = append(m.audit[d.Session], a)
	now, ok := m.duties[d.ID]
	switch {
	case !ok || !now.Due.Equal(d.Due):
	case next == nil:
		delete(m.duties, d.ID)
	default:
		now.State, now.Due = next.State, next.Due
		m.duties[d.ID] = now
	}
	return nil
}

func listName(env eid.Environment, e eid.EID, contract string) string {
	return string(env) + " " + string(e) + " " + contract
}

func (m *memory) Directory(_ context.Context, env eid.Environment, e eid.EID, contract string) (*broker.Directory, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.lists[listName(env, e, contract)]
	if !ok {
		return nil, broker.ErrNotFound
	}
	return &d, nil
}

func (m *memory) ClaimDirectory(_ context.Context, d *broker.Directory, until time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.lists[listName(d.Environment, d.EID, d.Contract)]
	if !now.Due.Equal(d.Due) {
		return false, nil
	}
	now.Due = until
	m.lists[listName(d.Environment, d.EID, d.Contract)] = now
	return true, nil
}

func (m *memory) PutDirectory(_ context.Context, d *broker.Directory) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lists[listName(d.Environment, d.EID, d.Contract)] = *d
	return nil
}
