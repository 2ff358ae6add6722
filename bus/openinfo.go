package bus

import "encoding/json"

// OpenInfo is the payload of an open event: what the client asked for.
type OpenInfo struct {
	Client ClientID `json:"client"`
	// Remote is the address:port of the client; "unix" if it comes over a unix
	// socket. Behind a proxy that the gateway trusts it is what that says of the
	// client; the port is 0 where it does not say one.
	Remote string `json:"remote"`
	// Proxy is who has made the connection, in the same form, where that is such a
	// proxy; else empty.
	Proxy string `json:"proxy,omitempty"`
	// Listener is the name of the gateway's listener that the client came to;
	// "default" for gateway.listen. Protocol is what is spoken there: websocket,
	// text, frame or raw. What follows is of the HTTP request: only with
	// websocket.
	Listener string              `json:"listener,omitempty"`
	Protocol string              `json:"protocol,omitempty"`
	Host     string              `json:"host,omitempty"`
	Path     string              `json:"path"`
	Query    string              `json:"query,omitempty"` // raw, without the question mark
	Headers  map[string][]string `json:"headers,omitempty"`
	// Claims are those of the client's token, a JSON object, if the gateway has
	// verified one; the uid is then bound already.
	Claims json.RawMessage `json:"claims,omitempty"`
}
