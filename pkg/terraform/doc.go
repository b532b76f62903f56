// Package terraform applies Terraform modules to a Vault, by Terraform or OpenTofu as they
// are, and keeps what they write in one directory that nobody else can read.
//
// The token is asked for before each command, and handed over by the environment alone: it
// is in no file, no argument and no variable. Nothing of the user's own set-up gets in, such
// as a token in the home directory or a log level that would write tokens down.
package terraform
