// Package cache keeps a bounded number of values that can be had again at a
// price. Which ones go is near enough to "least recently used": values live in
// a young and an old generation, a use moves a value to the young one, and
// when that is full it becomes the old one, whose values go.
package cache

import "sync"

// A Cache is safe for concurrent use.
type Cache[K comparable, V any] struct {
	mu         sync.Mutex
	half       int
	young, old map[K]V
}

// New keeps at most limit values.
func New[K comparable, V any](limit int) *Cache[K, V] {
	return &Cache[K, V]{half: max(limit/2, 1), young: map[K]V{}, old: map[K]V{}}
}

// Get finds a value.
func (c *Cache[K, V]) Get(k K) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok = c.young[k]; ok {
		return v, true
	}
	if v, ok = c.old[k]; ok {
		delete(c.old, k)
		c.put(k, v)
	}
	return v, ok
}

// Put keeps a value.
func (c *Cache[K, V]) Put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.old, k)
	c.put(k, v)
}

func (c *Cache[K, V]) put(k K, v V) {
	if _, known := c.young[k]; !known && len(c.young) >= c.half {
		c.young, c.old = map[K]V{}, c.young
	}
	c.young[k] = v
}

// Drop forgets a value.
func (c *Cache[K, V]) Drop(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, k)
	delete(c.old, k)
}

// Clear forgets all.
func (c *Cache[K, V]) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.young, c.old = map[K]V{}, map[K]V{}
}
