package cache

import (
	"sync"
	"testing"
)

func TestBoundedAndUsedValuesStay(t *testing.T) {
	t.Parallel()
	c := New[int, int](100)
	c.Put(-1, 7)
	for i := range 10_000 {
		c.Put(i, i)
		if n := len(c.young) + len(c.old); n > 100 {
			t.Fatalf("%d values are kept, want at most 100", n)
		}
		if v, ok := c.Get(-1); !ok || v != 7 {
			t.Fatalf("after %d others a value in use is gone", i)
		}
	}
	if _, ok := c.Get(0); ok {
		t.Error("a value that nobody has used for long is still there")
	}
	if v, ok := c.Get(9_999); !ok || v != 9_999 {
		t.Error("the latest value is gone")
	}
}

func TestDropForgetsInBothGenerations(t *testing.T) {
	t.Parallel()
	c := New[string, int](4)
	c.Put("a", 1)
	c.Put("b", 2)
	c.Put("c", 3) // a and b are old now
	for _, k := range []string{"a", "c"} {
		c.Drop(k)
		if _, ok := c.Get(k); ok {
			t.Errorf("%s is still there", k)
		}
	}
	c.Put("b", 5)
	if v, _ := c.Get("b"); v != 5 {
		t.Errorf("b = %d, want the newer value 5", v)
	}
	c.Clear()
	if _, ok := c.Get("b"); ok {
		t.Error("Clear left b")
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	c := New[int, int](10)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 1000 {
				c.Put(i%20, g)
				c.Get(i % 20)
				c.Drop(i % 7)
			}
		})
	}
	wg.Wait()
}
