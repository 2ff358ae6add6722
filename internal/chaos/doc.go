// Package chaos breaks a running gatebus on purpose and checks that its promises
// hold. It is no part of gatebus: its command, "just chaos", and its own test run
// it.
//
// [Run] starts registers, gateways and workers as real processes, each on a host
// of its own where it may (a network namespace, as root on Linux), puts clients
// in front of them, and carries out a schedule of faults that [Plan] makes of a
// seed: the same seed, shape and length give the same schedule.
//
// What is checked, and fails the run:
//
//   - Of every connection each frame is answered once and in order, and none is
//     unanswered for longer than a bound. A connection ends only for a reason: the
//     client's own close, a gateway that was killed, or 1012 from one that was told
//     to stop. Such an end excuses what was unanswered then, nothing else.
//   - Of every client the workers handle open, frames and close one at a time, in
//     order, none left out, nothing new after the close. Workers record when each
//     handling began and ended, by a clock that all processes share; [Verify] puts
//     the records together.
//   - A process ends only when it is told to, in time and without an error, and no
//     log tells of a panic or a data race.
//   - At the end nothing is left: no client, no held event, and the processes have
//     about as many files and as much memory as before the first client.
//
// The schedule has only what the promises cover: of each gateway there is always
// a worker that can be reached, or all are killed for less than the gateway holds
// events; nobody is frozen or cut off for longer than a client may be silent; and
// no more workers are silent at a time than the number of deliveries allows for.
package chaos
