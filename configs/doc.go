// Package configs is the configuration of one host: what it means, where it
// comes from, and what is wrong with it.
//
// # Where a value comes from
//
// [Load] puts four layers over each other: a flag (--set gateway.hold=1m) wins
// over the environment (GATEBUS_GATEWAY__HOLD=1m), which wins over the YAML
// file, which wins over the default. Each key is decided by itself; a list is
// replaced as a whole, never appended to. Every key can be set in every layer.
//
// A role (register, gateway, worker, api) runs on this host when its section is
// there: in the file, if only as "gateway:" with nothing below, or through any
// variable or flag that sets one of its keys. What a present section does not
// say has its default.
//
// Two values follow from others when they are not set: registers, on a host
// with a register, is that register; and secret, where secret_file is set, is
// what that file holds. A secret in a higher layer wins over a secret_file in a
// lower one and the other way round; both in one layer are an error.
//
// # What is refused
//
// Loading is strict. A key or variable that means nothing is an error, and so
// are a key that stands twice, a duration without a unit, a value of the wrong
// type, and a value that the role itself refuses. All that is wrong is told at
// once, in an [Error], each [Problem] with the file and line, variable or flag
// it came from, the key, and what to do. Load has no other errors: a nil error
// means a configuration that every role has accepted.
//
// A listener for the other processes (bus, register, routes) that can be
// reached from other machines needs a secret, and the admin listener tokens of the
// API, unless insecure says that the network is trusted; the API needs them there in
// any case. A
// listener on every interface needs advertise. Names of hosts are not looked
// up: "localhost" and the addresses 127.0.0.0/8 and ::1 are this machine,
// anything else is not.
//
// # Secrets
//
// A [Secret] shows as a mask wherever it is formatted or logged, no Problem
// quotes one, and [Config.Print] masks it; loading the mask is an error, so
// that printed configuration is never run by mistake.
//
// Nothing here keeps a file open, watches one, or starts a goroutine. To reload
// is to call Load again and to ask [Config.Diff] what changed.
package configs
