package chaos

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"
)

var long = flag.Duration("for", 10*time.Second, "how long to go on killing")

// Whatever is killed and whenever, containers, their output and their exit codes
// stay, and nothing of what they held does.
func TestNothingIsLost(t *testing.T) {
	n := newNode(t)
	// Once through, so that everything that is opened once is open.
	warm := newJob(0)
	warm.name = "warm"
	must(t, warm.start(t.Context(), n))
	must(t, warm.ended(t.Context(), n))
	must(t, warm.remove(t.Context(), n))
	n.leftNothing()
	daemon, keeper := descriptors(n.daemon.Process.Pid), descriptors(n.keeperPID())

	ctx, cancel := context.WithTimeout(t.Context(), *long+time.Minute)
	defer cancel()
	var jobs []*job
	for i := range 120 { // that run when the first is killed
		j := newJob(i)
		j.lines *= 3
		jobs = append(jobs, j)
	}
	each(t, jobs, 16, "start", func(j *job) error { return j.start(ctx, n) })
	loaded := make(chan struct{})
	go func() { // and more meanwhile
		defer close(loaded)
		var ready []*job
		for i := range int(long.Seconds()) * 25 {
			ready = append(ready, newJob(1000+i))
		}
		began := time.Now()
		each(t, ready, 16, "start", func(j *job) error {
			if time.Since(began) > *long {
				return nil
			}
			return j.start(ctx, n)
		})
		for _, j := range ready {
			if j.id != "" {
				jobs = append(jobs, j)
			}
		}
	}()
	kills := n.killFor(*long, loaded)
	each(t, jobs, 32, "end of", func(j *job) error { return j.ended(ctx, n) })
	t.Logf("%d containers, %s", len(jobs), kills)

	each(t, n.pods(ctx), 32, "remove", func(j *job) error { return j.remove(ctx, n) })
	n.leftNothing()
	eventually(t, 10*time.Second, func() error {
		if d, k := descriptors(n.daemon.Process.Pid), descriptors(n.keeperPID()); d > daemon+slack || k > keeper+slack {
			return fmt.Errorf("%d descriptors of the daemon and %d of the keeper, want %d and %d as before", d, k, daemon, keeper)
		}
		return nil
	})
	if t.Failed() {
		t.Logf("the daemon's warnings:\n%s", tail([]byte(n.warnings()), 6000))
	}
}

// slack is for what a process opens for a moment.
const slack = 6

// killFor kills at random moments: the daemon, the keeper, one while the other is
// away. It returns when the time is over and the load has been put on.
func (n *node) killFor(limit time.Duration, loaded <-chan struct{}) (kills string) {
	var count [6]int
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(rand.N(500 * time.Millisecond)) {
		if rand.IntN(2) == 0 {
			n.ready() // else while it is still coming back
		}
		what := rand.IntN(len(count))
		count[what]++
		switch what {
		case 0:
			n.killDaemon()
			n.start()
		case 1:
			n.killKeeper()
		case 2: // the keeper while the daemon comes back
			n.killDaemon()
			n.start()
			time.Sleep(rand.N(200 * time.Millisecond))
			n.killKeeper()
		case 3: // the daemon while it takes care of the keeper's death
			n.killKeeper()
			time.Sleep(rand.N(20 * time.Millisecond))
			n.killDaemon()
			n.start()
		case 4: // away for long
			n.killDaemon()
			time.Sleep(rand.N(time.Second))
			n.start()
		case 5: // the next daemon brings another keeper, which takes over in place
			n.changeKeeper()
			n.killDaemon()
			n.start()
		}
	}
	n.ready()
	<-loaded
	return fmt.Sprintf("killed: daemon %d, keeper %d, daemon then keeper %d, keeper then daemon %d, daemon away for long %d, keeper upgraded %d",
		count[0], count[1], count[2], count[3], count[4], count[5])
}

// leftNothing wants the machine to be as without pods.
func (n *node) leftNothing() {
	n.t.Helper()
	eventually(n.t, 15*time.Second, func() error {
		spare := 0
		for _, m := range n.mounts() {
			switch {
			case m == n.path("run"), m == n.path("run/ns"):
			case len(m) > len(n.path("netns")) && m[:len(n.path("netns"))] == n.path("netns"):
				spare++
			default:
				return fmt.Errorf("still mounted: %s", m)
			}
		}
		ports := n.links()
		if most := pool + 4; spare > most || len(ports) > most {
			return fmt.Errorf("%d network namespaces and %d links, want at most the pool of %d", spare, len(ports), most)
		}
		for what, left := range map[string][]string{
			"pods' namespaces":     entries(n.t, n.path("run/ns")),
			"addresses":            entries(n.t, n.path("netns/pods")),
			"pods":                 entries(n.t, n.path("engine/pods")),
			"pods' files":          entries(n.t, n.path("engine/run/pods")),
			"containers' files":    entries(n.t, n.path("engine/files")),
			"the keeper's":         entries(n.t, n.path("run/containers")),
			"filesystems":          entries(n.t, n.path("snapshots/new")),
			"trash":                entries(n.t, n.path("snapshots/trash")),
			"cgroups":              n.cgroups(),
			"processes":            children(n.keeperPID()),
			"overlay's own":        entries(n.t, n.path("snapshots/work")),
			"writable filesystems": writable(entries(n.t, n.path("snapshots/snapshots"))),
		} {
			if len(left) > 0 {
				return fmt.Errorf("%s left: %q", what, left)
			}
		}
		return nil
	})
}

// writable leaves out the layers, whose names are numbers.
func writable(entries []string) []string {
	return slices.DeleteFunc(entries, func(name string) bool {
		_, err := strconv.Atoi(name)
		return err == nil
	})
}
