// Package portfuzz throws garbage at every port of a running gatebus and checks that
// nobody is harmed. It is no part of gatebus: its command, "just fuzz-ports", and its own
// test run it.
//
// [Run] starts registers, gateways, workers and the HTTP API as real processes on
// loopback, with a secret, and has actors at each of their ports: those for clients, of
// every protocol, with TLS, PROXY headers and over a unix socket; those for HTTP; those of
// NATS, before and after a login with each key that a secret gives, as workers that answer
// nonsense too; and those of the routes between registers. An actor makes one attempt
// after the other: a connection on which it says something that is well formed, nearly so,
// or not at all. What the n-th attempt of an actor says follows from the seed, the name of
// the actor and n, and from what it is answered: the same seed says the same again.
//
// What is checked, and fails the run:
//
//   - Clients of every listener that behave, some connected all the time and some anew
//     each second, get each frame back, as it was, in order and within a bound. No one of
//     them is closed. Likewise the HTTP API, the registers' lists of members, and the
//     health of each process answer who asks properly.
//   - No process ends, and no log tells of a panic, of a handler recovered from one, or of
//     a data race.
//   - Twice in between and at the end all actors rest. Then, within a bound, each process
//     has as many open files, goroutines and clients as it had after the warm-up, and no
//     more live memory and resident memory than a little.
//   - At the end each process stops in order when it is told to.
//
// What a worker's key allows to do to others' clients it does on a gateway of its own,
// called wild, where nobody behaves. On the other, front, a modified worker does what it
// likes to the clients of its own worker group.
//
// The number of attempts a second, of connections at a time, the bytes of each and the
// time of each are bounded. Only processes that it has started are ended.
package portfuzz
