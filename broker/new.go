package broker

import (
	"cmp"
	"errors"
	"time"

	"eidgate/connector"
	"eidgate/eid"
	"eidgate/internal/cache"

	"golang.org/x/sync/singleflight"
)

// A Broker runs sessions on one node. Its zero value is not usable.
type Broker struct {
	c       Config
	limits  Limits
	orders  orders
	pools   map[eid.Environment]map[eid.EID]*pool
	ticking chan struct{} // one token for each tick at a time
	beaten  beat
	inbox   chan struct{} // a hint that the inbox has something
	specs   *cache.Cache[string, *Spec]
	persons persons

	who      *cache.Cache[string, []byte] // DataIdentity of sessions that this node has confirmed
	lists    *cache.Cache[listKey, keptList]
	fetching singleflight.Group // of lists
}

// New checks the configuration and makes a Broker. Run starts its work; the
// other methods may be called before.
func New(c Config) (*Broker, error) {
	switch {
	case c.Store == nil, c.Settings == nil, c.NewID == nil, c.Log == nil:
		return nil, errors.New("new broker: Store, Settings, NewID and Log are required")
	case len(c.HandleKey) < 32:
		return nil, errors.New("new broker: HandleKey must have at least 32 bytes")
	case c.Epoch == "":
		return nil, errors.New("new broker: Epoch is required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewRow == nil {
		c.NewRow = c.NewID
	}
	l := c.Limits
	l.Unopened = cmp.Or(l.Unopened, 30*time.Minute)
	l.Idle = cmp.Or(l.Idle, 15*time.Minute)
	l.Extend = cmp.Or(l.Extend, 10*time.Minute)
	l.Before = cmp.Or(l.Before, 3*time.Hour)
	l.After = cmp.Or(l.After, 30*time.Minute)
	l.Keep = cmp.Or(l.Keep, 24*time.Hour)
	l.Beat = cmp.Or(l.Beat, 3*time.Second)
	l.Dead = cmp.Or(l.Dead, 8*time.Second)
	l.Calls = cmp.Or(l.Calls, 256)
	l.Queue = cmp.Or(l.Queue, 2048)
	l.EffectFor = cmp.Or(l.EffectFor, 3*time.Second)
	l.Save = cmp.Or(l.Save, 20*time.Second)
	b := &Broker{c: c, limits: l, pools: map[eid.Environment]map[eid.EID]*pool{}, ticking: make(chan struct{}, l.Calls), inbox: make(chan struct{}, 1),
		specs: cache.New[string, *Spec](2048), who: cache.New[string, []byte](1024), persons: newPersons(), lists: cache.New[listKey, keptList](1024)}
	for env, all := range c.Connectors {
		b.pools[env] = map[eid.EID]*pool{}
		for e := range all {
			b.pools[env][e] = &pool{slots: make(chan struct{}, l.Calls), room: int64(l.Queue)}
		}
	}
	b.orders.init()
	return b, nil
}

func (b *Broker) now() time.Time { return b.c.Now() }

func (b *Broker) observe(o Observation) {
	if b.c.Observe != nil {
		b.c.Observe(o)
	}
}

// connector finds who speaks to an eID; nil when it is not configured.
func (b *Broker) connector(env eid.Environment, e eid.EID) connector.Connector {
	return b.c.Connectors[env][e]
}

// Hinted tells the broker that its inbox may have something.
func (b *Broker) Hinted() {
	select {
	case b.inbox <- struct{}{}:
	default:
	}
}
