package bus

import (
	"encoding/json"
	"fmt"
)

// The operations that a gateway can be asked to do.
const (
	OpClose = "close" // CloseRequest: close a client
	// OpHello has the gateway look who is on its bus: a worker has come or is
	// leaving. Without it that is seen a moment later. It has no payload.
	OpHello = "hello"
	// OpNames has the gateway tell a worker which uids and groups its clients
	// have: NamesRequest.
	OpNames = "names"
)

// Result is what a gateway answers to a push or command that has a reply
// subject, as JSON.
type Result struct {
	Gateway GatewayID `json:"gateway"`
	// Clients is how many clients were reached: the frame stands in their
	// queues, or the close does.
	Clients int `json:"clients"`
	// Error says what was wrong with the request, "" if nothing.
	Error string `json:"error,omitempty"`
}

// Msg is the result as a message to the given subject.
func (r Result) Msg(subject string) *Msg {
	data, err := json.Marshal(r)
	if err != nil { // cannot be: strings and a number
		panic(err)
	}
	return &Msg{Subject: subject, Data: data}
}

// ParseResult reads what [Result.Msg] wrote.
func ParseResult(data []byte) (Result, error) {
	var r Result
	if err := json.Unmarshal(data, &r); err != nil {
		return Result{}, fmt.Errorf("bus: %w: result: %w", ErrMessage, err)
	}
	return r, nil
}

// CloseRequest asks a gateway to close a client.
type CloseRequest struct {
	Client ClientID  `json:"client"`
	Code   CloseCode `json:"code,omitempty"` // 0 means CloseKicked
	Reason string    `json:"reason,omitempty"`
}

// Msg is the request as a message to a gateway, or to all of them on a register.
func (r CloseRequest) Msg(g GatewayID) (*Msg, error) {
	if err := CheckName(string(g)); err != nil {
		return nil, fmt.Errorf("bus: close: gateway: %w", err)
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("bus: close: %w", err)
	}
	return &Msg{Subject: CommandSubject(g, OpClose), Data: data}, nil
}

// ParseCloseRequest reads the payload of a close command; Code is set.
func ParseCloseRequest(data []byte) (CloseRequest, error) {
	var r CloseRequest
	if err := json.Unmarshal(data, &r); err != nil {
		return CloseRequest{}, fmt.Errorf("bus: %w: close command: %w", ErrMessage, err)
	}
	if err := r.check(); err != nil {
		return CloseRequest{}, err
	}
	if r.Code == 0 {
		r.Code = CloseKicked
	}
	return r, nil
}

func (r CloseRequest) check() error {
	if _, _, _, err := r.Client.Parts(); err != nil {
		return err
	}
	if r.Code == 0 {
		return nil
	}
	return CheckCloseCode(r.Code)
}
