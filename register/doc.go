// Package register lets gateways and workers find each other: a membership of
// soft state, told by every member itself.
//
// A member announces itself every [Heartbeat] over its connection to any one
// of the registers. Registers are NATS servers of one cluster, so every
// register, and every member that watches, hears it. Each keeps its own
// [Table]; nobody votes, nothing is stored. Hence:
//
//   - Any number of registers will do, any one suffices, and one that restarts
//     knows all members again one heartbeat later.
//   - A member that leaves is off every table at once; one that dies, [Lease]
//     after its last heartbeat.
//   - While a member has no connection to a register its view stands still:
//     nobody is taken for dead because the registers are. Its view also stays
//     for one lease after the connection is back.
//   - Views differ between members for as long as messages take, or as the
//     network is split. They agree within one lease after it heals.
//   - Two processes that claim one name at different addresses are a mistake;
//     the one that started first keeps it, the other is told
//     ([Client.Conflict]) and keeps trying. Workers work on under a name that
//     is taken. At the same address only one can live: the one that started
//     last has it.
//
// No client frame passes here. Members are also NATS micro services, for
// `nats micro ls`: that is for people to look at, not a sign of life.
package register
