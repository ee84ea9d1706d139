package bankidse

import "testing"

// BenchmarkVerify has what one person's signature costs, of eight people at
// the same bank: by the function, and by a Verifier that knows the bank.
func BenchmarkVerify(b *testing.B) {
	is := theIssuer()
	ins := make([]VerifyInput, 8)
	for i := range ins {
		ins[i] = is.input(is.forge(Identification))
	}
	run := func(b *testing.B, verify func(VerifyInput) (*Verified, error)) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := verify(ins[i%len(ins)]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("alone", func(b *testing.B) { run(b, Verify) })
	b.Run("verifier", func(b *testing.B) { run(b, is.verifier().without) })
}
