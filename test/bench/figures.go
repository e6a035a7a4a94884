package main

import (
	"fmt"

	"github.com/sampan-cloud/sampan/test/bench/measure"
)

// figures are all that is measured, with the goals. docs/promises.md names each
// of them, and a test compares the two. burst is how many containers are started
// at once; the goals are for a thousand.
func figures(burst int) []measure.Figure {
	type goal = measure.Goal
	many := fmt.Sprintf("%d containers", burst)
	return []measure.Figure{
		// The whole: make bench.
		{Name: "up-cold", Unit: "s", What: "sampan up to node Ready, empty data directory", Goal: goal{Median: 6}},
		{Name: "up-restart", Unit: "s", What: "sampan up to node Ready, after sampan down", Goal: goal{Median: 4}},
		{Name: "idle-memory", Unit: "MB", What: "resident memory, idle", Goal: goal{Median: 400}},
		{Name: "idle-processor", Unit: "%", What: "use of one core, idle", Goal: goal{Median: 5}},
		{Name: "pod", Unit: "ms", What: "pod created to Running, without volumes", Goal: goal{Median: 110}},
		{Name: "pod-token", Unit: "ms", What: "pod created to Running, with the token volume", Goal: goal{Median: 420}},
		{Name: "deployment", Unit: "s", What: "Deployment of 100, created to all Ready", Goal: goal{Median: 4}},
		{Name: "command", Unit: "ms", What: "start of the command: version", Goal: goal{Median: 10}},
		{Name: "run-rm-bridge", Unit: "ms", What: "run --rm of a program that ends at once, end to end, network bridge",
			Goal: goal{Median: 40, Times: map[string]float64{"docker": 12, "podman": 8}}},
		{Name: "run-rm-none", Unit: "ms", What: "run --rm of a program that ends at once, end to end, network none"},

		// The engine alone: make bench-engine.
		{Name: "start-none", Unit: "ms", What: "start to exec, image present, network none", Goal: goal{Median: 6, P99: 25}},
		{Name: "start-bridge", Unit: "ms", What: "start to exec, image present, network bridge", Goal: goal{Median: 10, P99: 25}},
		{Name: "cri-1", Unit: "ms", What: "RunPodSandbox + CreateContainer + StartContainer, one pod at a time", Goal: goal{Median: 20}},
		{Name: "cri-50", Unit: "ms", What: "RunPodSandbox + CreateContainer + StartContainer, each of 50 pods at once", Goal: goal{Median: 60}},
		{Name: "burst-none", Unit: "s", What: many + " started at once, network none", Goal: goal{Median: 3}},
		{Name: "burst-bridge", Unit: "s", What: many + " started at once, network bridge", Goal: goal{Median: 8}},
		{Name: "teardown-none", Unit: "s", What: many + " removed at once, network none", Goal: goal{Median: 3}},
		{Name: "teardown-bridge", Unit: "s", What: many + " removed at once, network bridge", Goal: goal{Median: 3}},
		{Name: "memory", Unit: "MB", What: "resident memory of engine and keeper together, " + many, Goal: goal{Median: 120}},
		{Name: "burst-share", Unit: "ms", What: "many containers started at once, network bridge: the time for all, by their number"},

		// What users' traffic meets: make bench-apps.
		{Name: "gateway-throughput", Unit: "req/s", More: true, What: "requests proxied, small answer, 64 kept connections, two processors",
			Goal: goal{Times: map[string]float64{"nginx": 0.8, "caddy": 1.1}}},
		{Name: "gateway-cpu", Unit: "µs", What: "processor time of the proxy for each of these requests"},
		{Name: "gateway-latency", Unit: "ms", What: "what the proxy adds to the p99 of answers, 2,000 requests a second", Goal: goal{Median: 2}},
		{Name: "gateway-idle", Unit: "KB", What: "memory of the proxy for each idle kept connection", Goal: goal{Median: 20}},
		{Name: "gateway-held", Unit: "connections", More: true, What: "idle kept connections held on the machine at once", Goal: goal{Least: 100_000}},
		{Name: "gateway-routes", Unit: "ms", What: "route made to in force, beside 5,000 others under load", Goal: goal{Median: 100}},
		{Name: "gateway-upgrade", Unit: "s", What: "a gateway in the place of another, under load"},
		{Name: "app-wake", Unit: "ms", What: "first request to an app at zero, to its answer", Goal: goal{Median: 150, P99: 400}},
		{Name: "app-step", Unit: "s", What: "load for 50 copies on an app that has one, to answers of all 50", Goal: goal{Median: 3}},
		{Name: "app-rollouts", Unit: "failed", What: "failed requests in each of many rollouts, rolling, blue-green and canary in turn, 2,000 requests a second"},
		{Name: "app-rollouts-p99", Unit: "ms", What: "p99 of the answers meanwhile, from when they were due"},
	}
}

// figure is the one of that name, without rows.
func (b *bench) figure(name string) measure.Figure {
	for _, f := range figures(b.burst) {
		if f.Name == name {
			return f
		}
	}
	panic("no figure " + name) // a mistake in this program
}
