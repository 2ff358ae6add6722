package testbed

import "syscall"

// attributes has the kernel kill the process when this one is gone, however it
// went.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
