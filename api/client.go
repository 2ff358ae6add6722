package api

import (
	"encoding/base64"
	"slices"
	"strconv"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// client is the client that the path names. Its error says that there is no gateway
// that could have it.
func (c *call) client() (worker.Client, error) {
	id := bus.ClientID(c.names["client"])
	g, epoch, _, _ := id.Parts() // checked with the path
	for _, l := range c.cluster.Gateways() {
		if l.Gateway == g && l.Epoch == epoch {
			return c.cluster.Client(id), nil
		}
	}
	return worker.Client{}, problem(noClient, "client %s: that life of gateway %s is over, or never was", id, g)
}

func getClient(c *call) (any, error) {
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	info, err := cl.Info(c.ctx)
	if err != nil {
		return nil, err
	}
	return &info, nil
}

func deleteClient(c *call) (any, error) {
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	r := CloseRequest{Reason: c.query.Get("reason")}
	if c.query.Has("code") {
		if r.Code, err = strconv.Atoi(c.query.Get("code")); err != nil {
			return nil, problem(badRequest, "code: %q is not a number", shorten(c.query.Get("code")))
		}
		if r.Code == 0 {
			return nil, problem(badRequest, "code: 0 is not a close code")
		}
	}
	if c.query.Has("text") {
		text := c.query.Get("text")
		r.Text = &text
	}
	if c.query.Has("binary") {
		data, err := base64.StdEncoding.DecodeString(c.query.Get("binary"))
		if err != nil {
			return nil, problem(badRequest, "binary: %v", err)
		}
		r.Binary = &data
	}
	switch c.query.Get("abort") {
	case "true":
		r.Abort = true
	case "false", "":
	default:
		return nil, problem(badRequest, "abort: it is true or false")
	}
	o, err := r.options()
	if err != nil {
		return nil, err
	}
	there, err := cl.CloseWith(c.ctx, o)
	if err == nil && !there {
		err = problem(noClient, "client %s", cl.ID())
	}
	return nil, err
}

// BindRequest gives a client a uid.
type BindRequest struct {
	UID string `json:"uid"`
	// Others says what becomes of other clients that have the uid: allow, which is the
	// default, replace or refuse.
	Others string `json:"others,omitempty"`
}

var others = map[string]worker.Others{
	"": worker.AllowOthers, "allow": worker.AllowOthers, "replace": worker.ReplaceOthers, "refuse": worker.RefuseOthers,
}

func putUID(c *call) (any, error) {
	var r BindRequest
	if err := c.body(&r); err != nil {
		return nil, err
	}
	o, ok := others[r.Others]
	if !ok {
		return nil, problem(badRequest, "others: %q is not allow, replace or refuse", shorten(r.Others))
	}
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	if err = cl.Bind(c.ctx, r.UID, o); o != worker.ReplaceOthers && err != nil {
		return nil, err // and the client has no other uid
	}
	return reached(1, err)
}

func deleteUID(c *call) (any, error) {
	cl, err := c.client()
	if err == nil {
		err = cl.Unbind(c.ctx)
	}
	return nil, err
}

// ClientGroups are the groups that a client is in.
type ClientGroups struct {
	Groups []string `json:"groups"`
}

func getGroups(c *call) (any, error) {
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	info, err := cl.Info(c.ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(info.Groups)
	return &ClientGroups{append([]string{}, info.Groups...)}, nil
}

func postGroups(c *call) (any, error) {
	var r ClientGroups
	if err := c.body(&r); err != nil {
		return nil, err
	}
	cl, err := c.client()
	if err == nil {
		err = cl.Join(c.ctx, r.Groups...)
	}
	return nil, err
}

func putGroup(c *call) (any, error) {
	cl, err := c.client()
	if err == nil {
		err = cl.Join(c.ctx, c.names["group"])
	}
	return nil, err
}

func deleteGroupOfClient(c *call) (any, error) {
	cl, err := c.client()
	if err == nil {
		err = cl.Leave(c.ctx, c.names["group"])
	}
	return nil, err
}
