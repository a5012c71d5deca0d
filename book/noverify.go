//go:build !verify

package book

// verifying: the checks of verify.go run only in builds with the tag verify.
const verifying = false

func (*book) verify() {}
