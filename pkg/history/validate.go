package history

import (
	"errors"
	"fmt"
	"strings"
)

// Validate tells what is wrong with an operation, or nil. It never quotes a
// key: one that is wrong may be a token.
func (o Op) Validate() error {
	switch {
	case o.Outcome != OK && o.Outcome != Fail && o.Outcome != Unknown:
		return fmt.Errorf("outcome is %q, want ok, fail or unknown", o.Outcome)
	case o.Key == "":
		return errors.New("the key is empty")
	case o.Return < o.Call:
		return fmt.Errorf("it returned %d ns before it was called", o.Call-o.Return)
	case o.Denied && o.Kind != Use && o.Kind != Decrypt:
		return fmt.Errorf("a %s is marked as denied, which only a use or a decrypt can be", o.Kind)
	case o.Denied && o.Outcome != Fail:
		return fmt.Errorf("a %s is denied and has the outcome %s, want fail", o.Kind, o.Outcome)
	}
	switch o.Kind {
	case Read:
		return nil
	case Write, Append, Encrypt:
		if o.Value == "" {
			return fmt.Errorf("%s without a value", o.Kind)
		}
		return nil
	case Decrypt:
		return o.validateDecrypt()
	case Issue, Use, Revoke:
		return o.validateGrant()
	default:
		return fmt.Errorf("kind is %q, want read, write, append, encrypt, decrypt, issue, use or revoke", o.Kind)
	}
}

func (o Op) validateDecrypt() error {
	switch {
	case o.Want == "":
		return errors.New("a decrypt does not say what it wants")
	case o.Outcome == OK && o.Value == "":
		return errors.New("a decrypt that is ok does not say what came out")
	}
	return nil
}

// validateGrant checks an operation on a token or lease.
func (o Op) validateGrant() error {
	ours := func(r rune) bool {
		return r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	switch {
	case strings.ContainsFunc(o.Key, func(r rune) bool { return !ours(r) }):
		// Tokens have a dot in them, and leases a slash.
		return fmt.Errorf("the key of a %s is no number of our own, such as token-17", o.Kind)
	case o.Kind == Issue && o.Outcome == OK && o.Expires <= o.Call:
		return errors.New("an issue that is ok does not say until when it lasts")
	case o.Expires < 0:
		return fmt.Errorf("a %s expires before 1970", o.Kind)
	case o.Expires != 0 && o.Kind == Revoke:
		return errors.New("a revoke says until when it lasts")
	}
	return nil
}
