package serviceproxy

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
)

// wish is what one port of an owner asks for: that these addresses lead to these endpoints. Its name stays the same
// from change to change, so that affinity and associations outlive a change of endpoints.
type wish struct {
	name      string
	addresses []address
	endpoints []netip.AddrPort
	affinity  time.Duration
}

// owner is a Service, a pod or a flag. Of two that want the same address the older one has it.
type owner struct {
	name  string
	since time.Time
}

// server is the socket of one address.
type server interface {
	use(*pool)
	sweep(time.Time)
	close()
}

// claim is an owner's hold on an address.
type claim struct {
	owner owner
	pool  *pool
}

// front is an address with everyone who claims it, the one that has it first.
type front struct {
	claims  []claim
	server  server
	blocked bool // told already that the address cannot be had
}

// table holds every address and what is behind it. It changes what has changed and nothing else. All of its methods
// are for one goroutine; connections are served beside it.
type table struct {
	router *router
	fronts map[address]*front
	owners map[string]map[string]*pool // by owner and wish
	places map[string]map[address]bool // by owner
}

// newTable is an empty table; local are the addresses of the node.
func newTable(local []netip.Addr) *table {
	return &table{
		router: &router{local: local, copier: newCopier()},
		fronts: map[address]*front{},
		owners: map[string]map[string]*pool{},
		places: map[string]map[address]bool{},
	}
}

// set replaces all wishes of an owner; none of them means that it is gone.
func (t *table) set(by owner, wishes []wish) {
	pools, wanted := map[string]*pool{}, map[address]bool{}
	for _, each := range wishes {
		from := t.owners[by.name][each.name]
		if from == nil {
			from = newPool()
		}
		from.update(each.endpoints, each.affinity)
		pools[each.name] = from
		for _, where := range each.addresses {
			wanted[where] = true
			t.claim(where, claim{by, from})
		}
	}
	for where := range t.places[by.name] {
		if !wanted[where] {
			t.release(where, by)
		}
	}
	if len(wishes) == 0 {
		delete(t.owners, by.name)
		delete(t.places, by.name)
		return
	}
	t.owners[by.name], t.places[by.name] = pools, wanted
}

func (t *table) claim(where address, made claim) {
	found := t.fronts[where]
	if found == nil {
		found = &front{}
		t.fronts[where] = found
	}
	found.claims = slices.DeleteFunc(found.claims, func(each claim) bool { return each.owner.name == made.owner.name })
	found.claims = append(found.claims, made)
	slices.SortFunc(found.claims, func(one, other claim) int {
		if order := one.owner.since.Compare(other.owner.since); order != 0 {
			return order
		}
		return strings.Compare(one.owner.name, other.owner.name)
	})
	t.reconcile(where, found)
}

func (t *table) release(where address, by owner) {
	found := t.fronts[where]
	found.claims = slices.DeleteFunc(found.claims, func(each claim) bool { return each.owner.name == by.name })
	t.reconcile(where, found)
	if len(found.claims) == 0 {
		delete(t.fronts, where)
	}
}

// reconcile opens, changes or closes the socket of an address. There is one only while an endpoint is behind it, so
// that the kernel refuses connections to a Service that has none. An address that is its own only endpoint is somebody
// else's.
func (t *table) reconcile(where address, found *front) {
	if len(found.claims) == 0 || !found.claims[0].pool.hasOther(where.AddrPort) {
		t.shut(where, found)
		return
	}
	from := found.claims[0].pool
	if found.server == nil {
		t.open(where, found, from)
	}
	if found.server == nil && t.router.hasEveryAddress(where.protocol, where.Port()) {
		t.router.serving.Store(where, from) // our other socket leads here
	}
	if found.server != nil {
		t.router.serving.Store(where, from)
		found.server.use(from)
		found.server.sweep(time.Now())
	}
}

func (t *table) shut(where address, found *front) {
	found.blocked = false
	t.router.serving.Delete(where)
	if found.server != nil {
		found.server.close()
		found.server = nil
	}
}

// open makes the socket. An address that another process has is left to it, and asked for again with each retry.
func (t *table) open(where address, found *front, from *pool) {
	listening, err := t.listen(where, from)
	if err != nil {
		if !found.blocked {
			klog.ErrorS(err, "Not served", "address", where, "owner", found.claims[0].owner.name)
		}
		found.blocked = true
		return
	}
	found.server, found.blocked = listening, false
}

func (t *table) listen(where address, from *pool) (server, error) {
	switch where.protocol {
	case corev1.ProtocolTCP:
		return notNil(listenTCP(t.router, where.AddrPort, from))
	case corev1.ProtocolUDP:
		return notNil(listenUDP(t.router, where.AddrPort, from))
	}
	return nil, errors.New("protocol " + string(where.protocol) + " is not known to this proxy")
}

// notNil keeps a nil pointer from becoming a server that is not nil.
func notNil[T server](made T, err error) (server, error) {
	if err != nil {
		return nil, err
	}
	return made, nil
}

// retry asks again for the addresses that could not be had.
func (t *table) retry() {
	for where, found := range t.fronts {
		if found.blocked {
			t.reconcile(where, found)
		}
	}
}

// sweep ends what is idle.
func (t *table) sweep(now time.Time) {
	for _, found := range t.fronts {
		if found.server != nil {
			found.server.sweep(now)
		}
	}
}
