// Package arch has no code of its own: its tests hold the repository to its
// architecture. Who may import whom, what a package and a file look like, and
// that the README tells the truth.
package arch
