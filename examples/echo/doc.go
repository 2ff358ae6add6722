// Command echo is a worker in as few lines as a worker takes: it answers every
// frame with itself, of clients of every gateway that the register on this
// machine knows of. Ctrl-C and SIGTERM drain it.
package main
