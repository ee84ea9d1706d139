package broker

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// diagram prints the move table as a Mermaid state diagram.
func diagram() string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n    [*] --> created\n")
	for _, from := range States() {
		for _, m := range slices.Sorted(maps.Keys(moves[from])) {
			fmt.Fprintf(&b, "    %s --> %s: %s\n", from, moves[from][m], m)
		}
	}
	b.WriteString("    erased --> [*]\n")
	return b.String()
}

func TestMovesDiagram(t *testing.T) {
	t.Parallel()
	const path = "testdata/moves.mmd"
	if os.Getenv("GOLDEN") == "update" {
		if err := os.WriteFile(path, []byte(diagram()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := diagram(); got != string(want) {
		t.Errorf("the move table has changed; docs/sessions.md shows:\n%s\nnow:\n%s", want, got)
	}
}

func TestMoveTable(t *testing.T) {
	t.Parallel()
	reached := map[State]bool{Created: true}
	for range States() {
		for from := range reached {
			for _, to := range moves[from] {
				reached[to] = true
			}
		}
	}
	for _, st := range States() {
		if !reached[st] {
			t.Errorf("state %s cannot be reached", st)
		}
		if _, ok := moves[st]; !ok {
			t.Errorf("state %s has no row", st)
		}
		if st.Ended() && st != Erased && moves[st][erase] != Erased {
			t.Errorf("final state %s cannot be erased", st)
		}
		if st.Ended() {
			for m, to := range moves[st] {
				if m != erase {
					t.Errorf("final state %s moves to %s by %s", st, to, m)
				}
			}
		} else if moves[st][fail] != Failed {
			t.Errorf("running state %s cannot fail", st)
		}
	}
}

func TestRef(t *testing.T) {
	t.Parallel()
	s := Session{ID: "9f2c41d8-55aa-4b2e-8c11-0123456789ab"}
	if got, want := s.Ref(), "MWQ6-5Q4P"; got != want {
		t.Errorf("Ref(%s) = %s, want %s", s.ID, got, want)
	}
}
