// Package workertest lets the author of a worker test it: real gateways and real
// workers in the test's own process, with a bus in memory between them. There is no
// NATS server to start and no port to choose. Clients are WebSocket clients over
// loopback.
//
// # What a test can rely on
//
//   - Everything is as in production: order, redelivery, sessions, uids and groups,
//     refusals at the handshake, close codes, pushes. Only the bus never fails, unless
//     the test says so, and there are no processes to be killed.
//   - Start returns when every worker is linked to every gateway, and all that it has
//     started has ended when the test has.
//   - What waits, waits for an event, and at most as long as Options.Patience: then the
//     test fails and says what for.
//   - A failure that the workers log fails no test; the log is the test's.
package workertest
