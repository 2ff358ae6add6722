// Package socket reads and writes sockets without a word to Go's scheduler.
//
// An ordinary system call is announced to it, since it may take long: so that others
// can run meanwhile. One on a socket that does not wait for the other end does not take long,
// and the announcement costs more than it is worth. It wakes the runtime's monitor (sysmon)
// whenever the process was idle before, which then looks every 20 µs whether the call is over,
// and it has the processor taken away whenever the kernel takes the core away in the midst of
// a call. With 500 clients that was a tenth of all that a gateway spends on a frame, and a
// fifth of what a worker does.
package socket
