// Command coredns is CoreDNS with only the plugins that the test cluster's Corefile names, which builds in half the time
// of the full one.
package main

import (
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
)

func main() {
	// A query goes through the plugins in this order, whatever the Corefile's is. CoreDNS's own order asks template, here
	// the "no such name" for everything else, before hosts and kubernetes.
	dnsserver.Directives = []string{"errors", "ready", "health", "kubernetes", "hosts", "template"}
	coremain.Run()
}
