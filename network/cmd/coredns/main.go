// Command coredns is CoreDNS with the plugins that a cluster's configuration names, and a word to the supervisor when it
// answers.
package main

import (
	"log"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/template"
	"github.com/coreos/go-systemd/v22/daemon"
)

func main() {
	caddy.RegisterEventHook("notify", func(event caddy.EventName, _ any) error {
		// It comes when all servers listen, and those wait for what they serve (caddy.Start).
		if event != caddy.InstanceStartupEvent {
			return nil
		}
		if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
			log.Printf("[ERROR] cannot tell the supervisor: %v", err)
		}
		return nil
	})
	coremain.Run()
}
