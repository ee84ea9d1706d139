package bankidse_test

import "crypto/tls"

// tlsCert is no certificate at all.
func tlsCert() tls.Certificate { return tls.Certificate{} }
