// Package testbed runs gatebus as its users do, as processes on this machine,
// and puts load on it that notices every broken promise.
//
// A [Process] is a real one, of the binary that is built once from the sources
// around (or that [BinaryEnv] names). It is started, signalled, killed and
// waited for by its own id, and watched through its log, its /readyz and its
// /stats. [Program] builds any other program of the module, and [StartExample]
// starts an example that has a page. A [Cluster] knows the addresses and the
// settings that registers, gateways and workers have in common. [Numbered] and
// [Load] are clients that number their frames and want each number back once and in
// order.
//
// What a test can rely on:
//
//   - Nothing is left running. A process ends with the test that started it,
//     and on Linux with the test binary, however that ends.
//   - Nothing collides. Addresses come from [FreeAddr], which gives none out
//     twice, and on Linux from a part of 127/8 of this process only: neither
//     the default ports nor the ports of outgoing connections are there.
//   - Nobody waits for ever. Each wait takes a context or ends after
//     [Patience], with an error that says what it was waiting for.
//   - What went wrong can be read. The logs of a test's processes are shown
//     when it fails, and a panic or a data race in one of them fails it.
//
// The binary is built with the race detector if the test binary is. Whoever
// uses this package calls [Main] from TestMain, or [CleanUp] at the end.
package testbed
