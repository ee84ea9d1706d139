package broker

import (
	"container/heap"
	"encoding/json"
	"net/url"
	"slices"
	"sync"
	"time"

	"eidgate/connector"
)

// body is what an order's owner needs to go on; it is sealed in storage.
type body struct {
	State   []byte            `json:"-"` // the connector's; stored after the JSON, since it may be large
	Step    json.RawMessage   `json:"step,omitempty"`
	Pending *pending          `json:"pending,omitempty"` // persisted, its effect not yet committed
	Input   url.Values        `json:"input,omitempty"`
	Browser connector.Browser `json:"browser"`
	Framed  bool              `json:"framed,omitempty"`
	Set     string            `json:"set,omitempty"`     // Key of the settings that the order runs under
	Kept    bool              `json:"kept,omitempty"`    // evidence of this order is stored already
	Tries   int               `json:"tries,omitempty"`   // of the pending event
	Last    string            `json:"last,omitempty"`    // token of the last message that was handled
	Reply   *connector.Reply  `json:"reply,omitempty"`   // to that message
	Earlier []told            `json:"earlier,omitempty"` // messages before it, whose senders may not have looked yet

	read connector.Step // what Step says, where this node has made it
}

// told is what the sender of a message is answered.
type told struct {
	Token string           `json:"token"`
	Reply *connector.Reply `json:"reply,omitempty"`
}

// maxEarlier bounds the answers that are kept: a sender looks within 200 ms.
const maxEarlier = 8

// next makes room for the answer to the next event, whose token is "" where it
// has no sender on another node.
func (bd *body) next(token string) {
	if bd.Last != "" {
		kept := bd.Earlier[max(0, len(bd.Earlier)-maxEarlier+1):]
		bd.Earlier = append(slices.Clone(kept), told{bd.Last, bd.Reply})
	}
	bd.Last, bd.Reply = token, nil
}

// answer is what the sender of a message is told; ok says whether it has been
// handled.
func (bd *body) answer(token string) (reply *connector.Reply, ok bool) {
	if bd.Last == token && bd.Pending == nil {
		return bd.Reply, true
	}
	for _, t := range bd.Earlier {
		if t.Token == token {
			return t.Reply, true
		}
	}
	return nil, false
}

// A pending event is one whose call may or may not have been made.
type pending struct {
	Begin bool            `json:"begin,omitempty"`
	Event json.RawMessage `json:"event,omitempty"`
}

// body reads what bytes wrote.
func (o *Order) body() (*body, error) {
	var bd body
	state, err := connector.UnmarshalBefore(o.Body, &bd)
	if err != nil {
		return nil, errUnreadable
	}
	bd.State = state
	return &bd, nil
}

// tried is the body after n tries of the pending event.
func (bd *body) tried(n int) *body {
	if bd.Tries == n {
		return bd
	}
	next := *bd
	next.Tries = n
	return &next
}

// bytes is a line of JSON, and the state after it.
func (bd *body) bytes() []byte {
	return connector.MarshalBefore(bd, bd.State)
}

// show makes a step the one that the page shows.
func (bd *body) show(s connector.Step) error {
	raw, err := connector.MarshalStep(s)
	bd.Step, bd.read = raw, s
	return err
}

func (bd *body) step() (connector.Step, error) {
	if bd.read != nil || len(bd.Step) == 0 {
		return bd.read, nil
	}
	return connector.UnmarshalStep(bd.Step)
}

// live is an order that this node owns and that polls: everything that a tick
// needs, so that a tick without news touches no storage. What it points to is
// never altered, only replaced, so that pages may look at it meanwhile.
type live struct {
	order   *Order
	session *Session
	spec    *Spec
	body    *body
}

// orders is what a node knows of the orders that it owns: one lock and one
// timer each.
type orders struct {
	mu    sync.Mutex
	locks map[string]*orderLock
	live  map[string]live
	of    map[string]string    // session → its order in live
	seen  map[string]time.Time // session → when its page was last shown
	due   dueHeap
	at    map[string]*dueItem
	kick  chan struct{} // the earliest due time has changed
}

func (os *orders) init() {
	os.locks = map[string]*orderLock{}
	os.live, os.of = map[string]live{}, map[string]string{}
	os.seen = map[string]time.Time{}
	os.at = map[string]*dueItem{}
	os.kick = make(chan struct{}, 1)
}

type orderLock struct {
	sync.Mutex
	users  int
	lapsed bool // while somebody had it
}

// lock serialises the calls for one order on this node, and the sessions that
// are made for one person.
func (os *orders) lock(id string) (unlock func()) {
	os.mu.Lock()
	l := os.locks[id]
	if l == nil {
		l = &orderLock{}
		os.locks[id] = l
	}
	l.users++
	os.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		os.mu.Lock()
		if l.users--; l.users == 0 {
			delete(os.locks, id)
		}
		os.mu.Unlock()
	}
}

// get is a copy for the one who changes it; nil if the order is not here.
func (os *orders) get(id string) *live {
	os.mu.Lock()
	defer os.mu.Unlock()
	if l, ok := os.live[id]; ok {
		return &l
	}
	return nil
}

// running is the order of a session, as it was last committed.
func (os *orders) running(session string) *live {
	os.mu.Lock()
	defer os.mu.Unlock()
	if l, ok := os.live[os.of[session]]; ok {
		return &l
	}
	return nil
}

// keep is for the one who has the order's lock.
func (os *orders) keep(l *live) {
	os.mu.Lock()
	defer os.mu.Unlock()
	if k := os.locks[l.order.ID]; k != nil && k.lapsed {
		return
	}
	os.live[l.order.ID] = *l
	os.of[l.session.ID] = l.order.ID
}

// lapse drops what is in memory of all orders, and what is being done with some
// at this moment: others may have taken them over. The ticks stay, and find out.
func (os *orders) lapse() {
	os.mu.Lock()
	defer os.mu.Unlock()
	clear(os.live)
	clear(os.of)
	clear(os.seen)
	for _, l := range os.locks {
		l.lapsed = true
	}
}

// forget drops an order that has ended or is owned elsewhere.
func (os *orders) forget(id string) {
	os.mu.Lock()
	defer os.mu.Unlock()
	if l, ok := os.live[id]; ok {
		delete(os.seen, l.session.ID)
		delete(os.of, l.session.ID)
	}
	delete(os.live, id)
	if it := os.at[id]; it != nil {
		heap.Remove(&os.due, it.index)
		delete(os.at, id)
	}
}

// schedule makes an order's next tick come no later than at; zero takes the
// tick away. A tick that is nearer stays, so that events cannot put a poll off
// for ever.
func (os *orders) schedule(id string, at time.Time) {
	os.mu.Lock()
	it := os.at[id]
	switch {
	case at.IsZero():
		if it != nil {
			heap.Remove(&os.due, it.index)
			delete(os.at, id)
		}
	case it != nil && !at.Before(it.at):
	case it != nil:
		it.at = at
		heap.Fix(&os.due, it.index)
	default:
		it = &dueItem{id: id, at: at}
		os.at[id] = it
		heap.Push(&os.due, it)
	}
	first := len(os.due) > 0 && os.due[0].id == id
	os.mu.Unlock()
	if first {
		select {
		case os.kick <- struct{}{}:
		default:
		}
	}
}

// next takes an order whose tick has come, or says how long to wait.
func (os *orders) next(now time.Time) (id string, wait time.Duration) {
	os.mu.Lock()
	defer os.mu.Unlock()
	if len(os.due) == 0 {
		return "", time.Minute
	}
	it := os.due[0]
	if d := it.at.Sub(now); d > 0 {
		return "", d
	}
	heap.Pop(&os.due)
	delete(os.at, it.id)
	return it.id, 0
}

// show remembers that a page of the session was shown just now.
func (os *orders) show(order, session string, at time.Time) {
	os.mu.Lock()
	defer os.mu.Unlock()
	if _, ok := os.live[order]; ok {
		os.seen[session] = at
	}
}

func (os *orders) shown(session string) time.Time {
	os.mu.Lock()
	defer os.mu.Unlock()
	return os.seen[session]
}

type dueItem struct {
	id    string
	at    time.Time
	index int
}

// dueHeap is a heap of timers; container/heap is its only caller.
type dueHeap []*dueItem

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *dueHeap) Push(x any) {
	it := x.(*dueItem)
	it.index = len(*h)
	*h = append(*h, it)
}

func (h *dueHeap) Pop() any {
	old := *h
	it := old[len(old)-1]
	*h = old[:len(old)-1]
	return it
}

// hurry brings a scheduled tick forward; an order without one stays without.
func (os *orders) hurry(id string, at time.Time) {
	os.mu.Lock()
	_, ok := os.at[id]
	os.mu.Unlock()
	if ok {
		os.schedule(id, at)
	}
}
