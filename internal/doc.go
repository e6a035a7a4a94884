// Package internal is the house. A package imports only from floors below its
// own; siblings on one floor do not import each other, except that engine
// stands on the other four in node. The map below names every package, floor by
// floor from the top, with its one sentence; map_test.go compares it with the
// code.
//
//	app       builds every part from one Config and runs them; only it knows them all
//	app/edge  runs what users' traffic passes through: gateway and DNS
//
//	front/cli      is the command line: read the request, call the API, print the answer
//	front/compose  turns compose files into apps and what they name
//	front/bundle   carries programs inside another program's file
//
//	platform/registry              serves images over the OCI distribution protocol
//	platform/rollout               makes apps of containers, scales them and ships them in steps
//	platform/catalog               registers services of processes outside the cluster
//	platform/gateway               gives every app a name, a certificate and a route
//	platform/gateway/route         finds the rule that a request falls under
//	platform/gateway/tcp           is TCP connections of which many are open and few have anything to say
//	platform/gateway/upstream      keeps the places that requests go to
//	platform/gateway/http1         reads heads of HTTP/1.1 messages that leave no doubt
//	platform/gateway/proxy         sends requests where the routing table says
//	platform/gateway/oidc          lets people in who have logged in elsewhere
//	platform/gateway/stream        carries connections and datagrams that are not HTTP
//	platform/gateway/translate     makes a routing table of what users wrote
//	platform/gateway/watch         keeps the routing table as the cluster's API says
//	platform/gateway/cert          gives each name its certificate
//	platform/gateway/acme          gets certificates from a public authority
//	platform/gateway/acme/acmetest is a public authority for tests
//	platform/gateway/server        is Caddy around the gateway
//	platform/gateway/dns           answers the cluster's names
//	platform/gateway/dns/server    is CoreDNS, with what a cluster needs of it
//
//	cluster/kube     runs upstream Kubernetes in this process
//	cluster/kubectl  is the upstream kubectl, ready to talk to this machine's cluster
//
//	node/engine                    makes pods and containers out of the four below
//	node/engine/cri                serves them to the kubelet, as the CRI over a unix socket
//	node/engine/local              serves them to the command line, over the node's local socket
//	node/image                     stores, pulls, pushes and unpacks OCI images
//	node/image/debian              builds images from Debian packages
//	node/snapshot                  gives each container a writable filesystem over shared read-only layers
//	node/snapshot/snapshottest     is what every snapshot store must do
//	node/container                 runs, checkpoints and restores the processes of one container, through the keeper
//	node/container/containertest   is what every container runtime must do
//	node/container/keeper          is the parent of every container: starts, reaps, logs
//	node/container/launch          starts a process by one clone3 and a table of system calls
//	node/container/wire            is what daemon and keeper say to each other
//	node/container/pidfd           asks the kernel about processes that are held by descriptor
//	node/container/devices         finds devices of the host, and those that CDI describes
//	node/container/criu            asks CRIU to write processes into files and to make them of such files
//	node/container/seccomp         compiles system call policies
//	node/container/cgroup          limits and measures processes by control groups
//	node/container/scope           has systemd keep cgroups for pods, where that is init
//	node/container/scope/scopetest boots a systemd for tests that need one as init
//	node/network                   gives pods addresses, routes and host ports
//
//	base/fault  says what kind of failure an error is, so every API can answer with its own status
//	base/runfs  makes sure that a directory ends with the machine's run
//	base/run    starts services in order, waits until each is ready, stops them in reverse
package internal
