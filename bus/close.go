package bus

import "fmt"

// CloseCode is a WebSocket close code (RFC 6455 §7.4).
type CloseCode int

// The codes that gatebus closes clients with. 4000 to 4099 are its own, 4100
// to 4999 are the application's.
const (
	CloseNormal        CloseCode = 1000
	CloseGoingAway     CloseCode = 1001
	CloseProtocolError CloseCode = 1002
	CloseNoStatus      CloseCode = 1005 // never sent: the client gave no code
	CloseAbnormal      CloseCode = 1006 // never sent: the connection ended without a close
	CloseInvalidData   CloseCode = 1007
	ClosePolicy        CloseCode = 1008
	CloseTooBig        CloseCode = 1009
	CloseHandlerFailed CloseCode = 1011
	CloseRestart       CloseCode = 1012
	CloseTryLater      CloseCode = 1013
	CloseSlowClient    CloseCode = 4000
	CloseSilent        CloseCode = 4001
	CloseKicked        CloseCode = 4002
	CloseReplaced      CloseCode = 4003
	CloseRateLimit     CloseCode = 4004
	// CloseUnauthenticated and CloseTokenExpired are about who the client is.
	CloseUnauthenticated CloseCode = 4005
	CloseTokenExpired    CloseCode = 4006
)

// CloseMeaning describes a close code: when it is used, and whether a client
// does well to connect again.
type CloseMeaning struct {
	Code      CloseCode
	Meaning   string
	Reconnect string
}

// CloseCodes is the table of all codes, in ascending order; docs/close-codes.md
// is made from it.
var CloseCodes = []CloseMeaning{
	{CloseNormal, "the client or the application is done", "no"},
	{CloseGoingAway, "the client leaves the page, or its side goes away", "no"},
	{CloseProtocolError, "the client broke the protocol that it speaks", "no: it has a defect"},
	{CloseInvalidData, "a text frame was not valid UTF-8", "no: it has a defect"},
	{ClosePolicy, "a rule of the gateway was broken", "no"},
	{CloseTooBig, "a frame was larger than the gateway's max_frame", "no: send smaller frames"},
	{CloseHandlerFailed, "a worker failed on a frame, or no worker got through with it in max_deliver tries", "yes, with a pause: the frame is lost"},
	{CloseRestart, "the gateway stops or restarts", "yes, at once: to another gateway"},
	{CloseTryLater, "no worker was there for as long as hold", "yes, with a growing pause"},
	{CloseSlowClient, "the client read too slowly: its queue of pushes was full, a write took too long, or most waited for it when the gateway's limits.buffered_bytes was reached", "yes, with a pause: pushes are lost"},
	{CloseSilent, "the client sent nothing, not even a pong, for too long", "yes"},
	{CloseKicked, "the application closed the client and gave no code", "as the application says"},
	{CloseReplaced, "another connection of the same uid has taken its place", "no: the two would replace each other without end"},
	{CloseRateLimit, "the client sent more frames or bytes a second than limits.frames_per_second or limits.bytes_per_second", "yes, with a growing pause: send less"},
	{CloseUnauthenticated, "the client had no uid for as long as limits.unauthenticated", "yes, once it can prove who it is"},
	{CloseTokenExpired, "the token that the client came with has expired", "yes, with a new token"},
}

// CheckCloseCode tells whether an application may close a client with the
// code: 1000, 1001, 1003, 1007 to 1014 and 3000 to 4999, without gatebus's own
// 4000 to 4099 unless it is one of the table.
func CheckCloseCode(code CloseCode) error {
	switch {
	case code == CloseNormal, code == CloseGoingAway, code == 1003,
		1007 <= code && code <= 1014, 3000 <= code && code <= 3999, 4100 <= code && code <= 4999,
		CloseSlowClient <= code && code <= CloseTokenExpired:
		return nil
	}
	return fmt.Errorf("bus: %d is not a close code an application may use: take 1000 or one of 4100 to 4999", code)
}
