// Package ledger is what the clients and workers of the chaos harness have in
// common: the frames, the records that workers write of each handling, and the
// check of all of them.
package ledger
