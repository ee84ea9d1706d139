package idin

import (
	"context"
	"errors"
	"time"
)

var errUnread = errors.New("iDIN: messages are not written and read yet")

// NewReference makes a merchantReference that nobody can guess (§4).
func NewReference() string { panic(errUnread) }

// NewEntranceCode makes an entranceCode that nobody can guess (§4).
func NewEntranceCode() string { panic(errUnread) }

func (m *Merchant) directoryRequest(time.Time) ([]byte, error)      { return nil, errUnread }
func (m *Merchant) transactionRequest(Transaction) ([]byte, error)  { return nil, errUnread }
func (m *Merchant) statusRequest(string, time.Time) ([]byte, error) { return nil, errUnread }

// ReadDirectory verifies and reads DirectoryRes, or returns *Error for
// AcquirerErrorRes. now is when it came.
func (m *Merchant) ReadDirectory(raw []byte, now time.Time) (*Directory, error) {
	return nil, errUnread
}

// ReadStarted verifies and reads AcquirerTrxRes, or returns *Error (§15.2).
func (m *Merchant) ReadStarted(raw []byte, now time.Time) (*Started, error) { return nil, errUnread }

// ReadStatus verifies and reads AcquirerStatusRes, without what is encrypted
// (§15.3). now is when the answer came, since an assertion lives for 30 s. The
// error is *Error where the answer refuses, ErrNoData, or *RefusedError.
func (m *Merchant) ReadStatus(raw []byte, want Expected, now time.Time) (*Status, error) {
	return nil, errUnread
}

// Open decrypts what the bank says of the person: at once where sem lets it, or
// one after the other without sem.
func (s *Status) Open(ctx context.Context, sem Semaphore) (*Person, error) { return nil, errUnread }
