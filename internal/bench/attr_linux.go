package bench

import "syscall"

// attributes has the kernel kill a server when the bench is gone, however it
// went, and keeps ^C from it: the bench ends it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
