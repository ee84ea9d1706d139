package seal_test

import (
	"bytes"
	"errors"
	"testing"

	"eidgate/internal/seal"
)

func TestSealedForOnePlace(t *testing.T) {
	t.Parallel()
	master, err := seal.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	data, wrapped, err := master.New(seal.Place("session_key", "a", "wrapped"))
	if err != nil {
		t.Fatal(err)
	}
	box := data.Seal(seal.Place("t", "row", "col"), []byte("secret"))
	if bytes.Contains(box, []byte("secret")) {
		t.Error("the value shows")
	}
	again, err := master.Unwrap(seal.Place("session_key", "a", "wrapped"), wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open(seal.Place("t", "row", "col"), box); err != nil || string(got) != "secret" {
		t.Errorf("Open = %q, %v", got, err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another row":    func() ([]byte, error) { return again.Open(seal.Place("t", "other", "col"), box) },
		"another column": func() ([]byte, error) { return again.Open(seal.Place("t", "row", "other"), box) },
		"another key":    func() ([]byte, error) { return master.Open(seal.Place("t", "row", "col"), box) },
		"short":          func() ([]byte, error) { return again.Open(seal.Place("t", "row", "col"), box[:5]) },
		"altered": func() ([]byte, error) {
			b := bytes.Clone(box)
			b[len(b)-1] ^= 1
			return again.Open(seal.Place("t", "row", "col"), b)
		},
	} {
		if _, err := open(); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("%s: %v, want ErrOpen", name, err)
		}
	}
	if _, err := master.Unwrap(seal.Place("session_key", "b", "wrapped"), wrapped); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("key of another row: %v", err)
	}
}

// TestNothingTwice: neither two keys nor two seals of one value are alike.
func TestNothingTwice(t *testing.T) {
	t.Parallel()
	master, err := seal.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	a, _, err := master.New("a")
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := master.New("b")
	if err != nil {
		t.Fatal(err)
	}
	one, two := a.Seal("p", []byte("secret")), a.Seal("p", []byte("secret"))
	if bytes.Equal(one[:12], two[:12]) {
		t.Error("one nonce has served twice")
	}
	if _, err := b.Open("p", one); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("another data key: %v, want ErrOpen", err)
	}
}

func TestKeyHas32Bytes(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 16, 24, 31, 33} {
		if _, err := seal.NewKey(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes", n)
		}
	}
}
