package host

import (
	"context"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/register"
)

// presence is a gateway on the tables of the registers, and among the micro services
// there. It can end and begin again. One goroutine uses it at a time.
type presence struct {
	g         *gatewayPart
	registers *bus.NATS

	service *register.Service // nil: it is not present
	cancel  context.CancelFunc
	ended   chan struct{} // closed when the membership has ended
	err     error         // why; read after ended
}

// begin has the registers know the gateway, until end or the end of ctx.
func (p *presence) begin(ctx context.Context) error {
	service, err := register.Serve(p.registers.NATS(), p.g.self, p.g.stats)
	if err != nil {
		return err
	}
	p.service = service
	ctx, p.cancel = context.WithCancel(ctx)
	ended := make(chan struct{})
	p.ended = ended
	go func() {
		defer close(ended)
		p.err = p.g.members.Run(ctx, p.registers)
	}()
	return nil
}

// end says goodbye, and returns why the membership had ended before, if it had.
func (p *presence) end() error {
	if p.service == nil {
		return nil
	}
	p.cancel()
	<-p.ended
	p.service.Stop()
	p.service = nil
	return p.err
}
