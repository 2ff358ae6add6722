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
// # Dead gateways
//
// When a gateway ends without a goodbye, because its lease is over or because
// a new life announces itself at its address, one worker of each group is told
// ([GatewayDown]) a moment later. The groups are those that had a member within
// the last hour, and the one that the gateway served.
//
//   - Every register takes notice; the one that started first of those it
//     knows, the leader, tells the workers: by a request on [DownSubject], with
//     a reply subject that every register hears. So all know what is done, and
//     when the leader is gone the next one goes on with the rest. In between,
//     registers tell each other what is pending, for those that have started
//     since.
//   - A group is told at least once. If a worker fails, or dies over it, the
//     next one is asked after a pause that grows, up to 20 times in half an
//     hour; a group of which nobody listens is asked for an hour. Then the
//     notice is given up, logged and counted; as is the oldest of more than
//     1,024 ([NoticeStats]).
//   - It is told twice if an answer is lost with its worker; on both sides if
//     the registers are split; and anew if the gateway was not dead, comes back
//     and dies again.
//   - A gateway that is only cut off from the registers is not dead. A worker
//     whose own link to it is up answers that it is busy, and is asked again
//     each lease. The notice is dropped if the gateway says that it is alive, or
//     goodbye. Workers without a link cannot know: receivers that are plain
//     NATS clients are told of it.
//   - A gateway that stops in order is no news, for its clients have had their
//     close events; one that is killed after its goodbye, while it still
//     closes clients, isn't either. One that stops while it reaches no register
//     cannot say goodbye, and is taken for dead.
//   - What no register has seen nobody is told: if all are down when a gateway
//     dies, or the last one that knows of it ends before it could tell.
//
// A subscription to reg.down.<group> that is not in the queue group, to look on,
// counts as a worker that does not answer: look at reg.answer.> instead.
//
// # What else
//
// No client frame passes here. Members are also NATS micro services, for
// `nats micro ls`: that is for people to look at, not a sign of life.
package register
