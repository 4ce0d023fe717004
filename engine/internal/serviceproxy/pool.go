package serviceproxy

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// pool is the endpoints behind one port of a Service, and which of them each client had last.
type pool struct {
	mutex     sync.Mutex
	endpoints []netip.AddrPort
	turn      int
	affinity  time.Duration
	clients   map[netip.Addr]remembered
	cleanUp   time.Time
	now       func() time.Time
}

// remembered is the endpoint that a client had last, and how long it is to have it again.
type remembered struct {
	endpoint netip.AddrPort
	until    time.Time
}

func newPool() *pool { return &pool{now: time.Now} }

// update replaces the endpoints. With an affinity above zero a client that connects again within that time gets the
// endpoint that it had, if that is still there.
func (p *pool) update(endpoints []netip.AddrPort, affinity time.Duration) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.endpoints, p.affinity = endpoints, affinity
	if affinity == 0 {
		p.clients = nil
	}
}

// pick chooses the endpoint for a client's next connection, in turn; false when all of them are among the tried.
func (p *pool) pick(client netip.Addr, tried []netip.AddrPort) (netip.AddrPort, bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if known, is := p.known(client); is && !slices.Contains(tried, known) {
		p.remember(client, known)
		return known, true
	}
	for range p.endpoints {
		p.turn = (p.turn + 1) % len(p.endpoints)
		if next := p.endpoints[p.turn]; !slices.Contains(tried, next) {
			p.remember(client, next)
			return next, true
		}
	}
	return netip.AddrPort{}, false
}

// holds tells whether connections may still go to an endpoint.
func (p *pool) holds(endpoint netip.AddrPort) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return slices.Contains(p.endpoints, endpoint)
}

// all is a copy of the endpoints.
func (p *pool) all() []netip.AddrPort {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return slices.Clone(p.endpoints)
}

// hasOther tells whether there is an endpoint besides this one.
func (p *pool) hasOther(than netip.AddrPort) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return slices.ContainsFunc(p.endpoints, func(each netip.AddrPort) bool { return each != than })
}

func (p *pool) known(client netip.Addr) (netip.AddrPort, bool) {
	had, is := p.clients[client]
	return had.endpoint, is && p.now().Before(had.until) && slices.Contains(p.endpoints, had.endpoint)
}

// remember notes who got what; once in each span of affinity it forgets the clients that did not come again.
func (p *pool) remember(client netip.Addr, endpoint netip.AddrPort) {
	if p.affinity == 0 {
		return
	}
	now := p.now()
	if p.clients == nil {
		p.clients = map[netip.Addr]remembered{}
	}
	if now.After(p.cleanUp) {
		for each, had := range p.clients {
			if now.After(had.until) {
				delete(p.clients, each)
			}
		}
		p.cleanUp = now.Add(p.affinity)
	}
	p.clients[client] = remembered{endpoint, now.Add(p.affinity)}
}
