//go:build !unix

package pgtest

import "syscall"

func unprivileged(string) (*syscall.SysProcAttr, error) {
	return nil, &MissingError{"a private PostgreSQL can be started on Unix systems only: set " + ServerEnv}
}
