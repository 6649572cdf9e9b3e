package e2e_test

import (
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// toxic is a fault of the network: how toxiproxy's README names and tunes it.
type toxic struct {
	hostile

	push bool
	json string
}

var toxics = []toxic{
	{hostile: hostile{name: "latency of 20 to 60 ms"}, json: `{"type":"latency","attributes":{"latency":40,"jitter":20}}`},
	{hostile: hostile{name: "2 MB a second"}, json: `{"type":"bandwidth","attributes":{"rate":2000}}`},
	{hostile: hostile{name: "slices of 1 kB"}, json: `{"type":"slicer","attributes":{"average_size":1000,"size_variation":500,"delay":10}}`},
	{hostile: hostile{name: "connections that end after 300 kB"}, json: `{"type":"limit_data","attributes":{"bytes":300000}}`},
	{hostile: hostile{name: "connections that end after 5 bytes", code: exitRegistry, waits: true}, json: `{"type":"limit_data","attributes":{"bytes":5}}`},
	{hostile: hostile{name: "connections that are reset after 100 ms", code: exitRegistry, may: true}, json: `{"type":"reset_peer","attributes":{"timeout":100}}`},
	{hostile: hostile{name: "half of the connections reset at once", code: exitRegistry, may: true}, json: `{"type":"reset_peer","toxicity":0.5,"attributes":{"timeout":0}}`},
	{hostile: hostile{name: "connections that close late"}, json: `{"type":"slow_close","attributes":{"delay":300}}`},
	{hostile: hostile{name: "answers that are lost", code: exitRegistry, waits: true}, json: `{"type":"timeout","attributes":{"timeout":200}}`},
	{hostile: hostile{name: "requests that are lost", code: exitRegistry, waits: true}, json: `{"type":"timeout","stream":"upstream","attributes":{"timeout":200}}`},

	{hostile: hostile{name: "push with latency of 20 to 60 ms"}, push: true, json: `{"type":"latency","stream":"upstream","attributes":{"latency":40,"jitter":20}}`},
	{hostile: hostile{name: "push at 4 MB a second"}, push: true, json: `{"type":"bandwidth","stream":"upstream","attributes":{"rate":4000}}`},
	{hostile: hostile{name: "push in slices of 2 kB"}, push: true, json: `{"type":"slicer","stream":"upstream","attributes":{"average_size":2000,"size_variation":1000,"delay":10}}`},
	{hostile: hostile{name: "push on connections that end after 3 MB", code: exitRegistry, may: true}, push: true, json: `{"type":"limit_data","stream":"upstream","attributes":{"bytes":3000000}}`},
	{hostile: hostile{name: "push on connections that end after 300 kB", code: exitRegistry, may: true, waits: true}, push: true, json: `{"type":"limit_data","stream":"upstream","attributes":{"bytes":300000}}`},
	{hostile: hostile{name: "push on connections that are reset after 100 ms", code: exitRegistry, may: true, waits: true}, push: true, json: `{"type":"reset_peer","stream":"upstream","attributes":{"timeout":100}}`},
}

// eachToxic runs the cases of a bad network, which a front counts behind.
func (s *faults) eachToxic(t *testing.T) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	for _, c := range toxics {
		t.Run(c.name, func(t *testing.T) {
			if c.waits {
				slow(t)
			}
			t.Parallel()
			f := newFront(t, s.registry.Addr, s.layers, nil)
			p := toxiproxy.NewProxy(server, c.name, "127.0.0.1:0", f.addr)
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Stop)
			if _, err := p.Toxics.AddToxicJson(strings.NewReader(c.json)); err != nil {
				t.Fatal(err)
			}
			over := func() { p.Toxics.ResetToxics(t.Context()) }
			if u := newUser(t); c.push {
				s.pushes(u, &c.hostile, f, p.Listen, over)
			} else {
				s.pulls(u, &c.hostile, f, p.Listen+"/org/model:v1", over)
			}
		})
	}
}
