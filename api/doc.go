// Package api is the HTTP API: all that a worker can do with the clients of every
// gateway, for programs that are no workers, with JSON in and out. Paths begin with
// /api/v1/; openapi.yaml, which is served there too, describes each.
//
// # What a caller can rely on
//
//   - An answer comes within the time that ?timeout= gives, five seconds without it,
//     and a little.
//   - Status 200 or 204 says that every gateway that was asked has answered. If some
//     have not, the status is 207: the answer is what the others say, or were reached
//     for, and has "missing" with the gateways and why. With none, it is an error.
//   - Everything that is not understood is refused: unknown parameters and fields, text
//     that is not valid UTF-8 or that JSON decoders would change, names that cannot be.
//     Names in paths are percent-encoded, and may hold anything else, "/" too.
//   - Errors are problem details (RFC 9457). What was refused has not been done. After
//     a 504 it may have been, or may yet be.
//   - Pushes are at most once; nothing is retried. A push goes to the gateways
//     directly and crosses no register.
//
// # Who may ask
//
// With tokens, who has one. Without, programs of the machine: what a web page could
// send is refused, that is, requests that a browser says to be of another origin, and
// such for a host that is not this machine by its loopback address or as localhost,
// which pages can have resolve to it. It is for listeners on loopback alone. Nothing is
// ever allowed to pages of other origins (CORS).
//
// A [Handler] starts no goroutine that outlives a request, and may be used by any
// number of them.
package api
