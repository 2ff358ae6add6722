package configs

// maxSocketPath is how long the path of a unix socket may be, in bytes.
const maxSocketPath = 107

// handover checks how a gateway is replaced by another process.
func (l *loader) handover() {
	g := l.config.Gateway
	if g == nil {
		return
	}
	switch {
	case !l.absolute("gateway.handover", &g.Handover):
	case len(g.Handover) > maxSocketPath:
		l.bad("gateway.handover", "the path has %d bytes; that of a socket has %d at most", len(g.Handover), maxSocketPath)
	case g.Handover != "" && len(g.Bus.URL) > 0:
		l.bad("gateway.handover", "the bus is gateway.bus.url, where two processes of one name are not told apart; "+
			"remove one of the two, and replace the gateway by one with another name")
	case g.Handover == "" && g.Bus.Spare != "":
		l.bad("gateway.bus.spare", "gateway.handover is empty, so no process takes it; set that, or remove it")
	}
}
