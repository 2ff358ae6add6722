// Package dashboard shows a whole cluster to a person with a browser: its members as a
// live picture, how much goes through it, what became of whom, and the frames of one
// client as they go. The page has no build step, is embedded, and asks for nothing but
// what this process serves: the files of the page below [Path], open to all since they
// tell nothing; the data below [Path]data/, behind the guard; and the HTTP API, by which
// it pushes and closes.
//
// # What it promises
//
//   - A [Dashboard] looks at the cluster every second while somebody watches, and every
//     five seconds otherwise, so that a page that is opened has the last 15 minutes. A
//     member that is killed is shown as one that does not answer at the next look.
//   - Memory and work are bounded: so many samples, notes, streams and taps, and no
//     more. A stream whose reader is slow gets fewer states, not old ones; a tap says
//     how much it has left out.
//   - It changes nothing in the cluster, and needs no more than the rights of an
//     observer.
//   - What it serves may hold anything that clients send, and is JSON; the page puts it
//     in as text.
package dashboard
