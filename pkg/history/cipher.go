package history

import "fmt"

// Undecryptable finds what was encrypted and did not come back: another
// plaintext came out, or Vault said for certain that it cannot be decrypted.
func Undecryptable(ops []Op) []Finding {
	var found []Finding
	for i := range ops {
		op := &ops[i]
		if op.Kind != Decrypt {
			continue
		}
		f := Finding{Key: op.Key, At: instant(op.Return)}
		switch {
		case op.Outcome == OK && op.Value != op.Want:
			f.Text = fmt.Sprintf("what was encrypted with key %s came back from %s at %s with the digest %s, want %s",
				op.Key, podName(op.Pod), clock(op.Return), op.Value, op.Want)
		case op.Denied:
			f.Text = fmt.Sprintf("what was encrypted with key %s (digest %s) cannot be decrypted, says %s at %s: %s",
				op.Key, op.Want, podName(op.Pod), clock(op.Return), op.Error)
		default:
			continue
		}
		found = append(found, f)
	}
	return sortFindings(found)
}
