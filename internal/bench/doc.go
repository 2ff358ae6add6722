// Package bench puts load on gatebus and measures what it takes.
//
// # What is measured
//
//   - Echo, closed loop: each client has so many frames unanswered and sends
//     the next when an answer comes. Latency counts from the write of a frame.
//   - Echo, open loop: frames are due at a fixed rate, whatever the server
//     does. Latency counts from when a frame was due, so that a server that
//     stalls is charged for all that waited, not only for what was sent
//     (no coordinated omission).
//   - Fan-out: pushes of which so many are under way. A push is under way until
//     every member has read it; latency counts from its publication to each
//     member's read.
//   - Connect: whole handshakes, each on a new TCP connection that is closed
//     again. Latency is that of the handshake.
//   - Idle: what connections cost that do nothing.
//
// Every answer and delivery is compared with what must come, and in which order.
// What is wrong, out of order, missing or broken off is counted, and the bench
// fails for it.
//
// # How
//
// Latencies are kept in HdrHistograms of three significant digits from 100 ns to
// 2 minutes, one for a share of the clients. CPU time and memory of the servers
// come from the process table, all threads together, over the measured time only;
// there is no such table elsewhere than on Linux, and then there are no such
// figures. Beside the figures stands what the load generator itself took.
//
// With a baseline, the same load runs in turns on the server and on a bare
// gorilla echo server ([ServeRaw]), a process of its own, which may have a relay of bytes
// before it ([ServeRelay]), another one. A ratio is the median
// of the ratios of the rounds, beside their spread, since what else happens on a
// machine changes from minute to minute and the two of a round are neighbours.
//
// # Processes
//
// Without a URL, a bench runs servers of its own, as processes of the program
// that it is told, on free ports of loopback. They end when it does; on Linux
// also when it is killed.
package bench
