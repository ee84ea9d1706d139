package broker

// A State is where a session stands.
type State string

const (
	Created   State = "created"   // nothing has been asked of an upstream
	Started   State = "started"   // an order has been begun
	Confirmed State = "confirmed" // the eID has confirmed a person; stages remain
	Finished  State = "finished"
	Failed    State = "failed"
	Erased    State = "erased" // a bare record is left
)

// A move is what happens to a session as a whole.
type move string

const (
	begin   move = "begin"
	confirm move = "confirm"
	finish  move = "finish"
	fail    move = "fail"
	erase   move = "erase"
)

// moves is the only place that says which state follows which. Nothing else
// assigns a state.
var moves = map[State]map[move]State{
	Created:   {begin: Started, fail: Failed},
	Started:   {confirm: Confirmed, fail: Failed},
	Confirmed: {finish: Finished, fail: Failed},
	Finished:  {erase: Erased},
	Failed:    {erase: Erased},
	Erased:    {},
}

// Ended says that the state will not change but by erasure.
func (s State) Ended() bool { return s == Finished || s == Failed || s == Erased }

// States lists every state, in the order of a session's life.
func States() []State { return []State{Created, Started, Confirmed, Finished, Failed, Erased} }

// move makes a move, or ErrMove.
func (s *Session) move(m move) error {
	next, ok := moves[s.State][m]
	if !ok {
		return ErrMove
	}
	s.State = next
	return nil
}
