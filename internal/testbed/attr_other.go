//go:build !linux

package testbed

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
