// Package engine makes pods and containers out of images, snapshots, processes
// and networks.
//
// A pod is an environment: network, shared namespaces, a few files, a cgroup
// parent. It has no process of its own unless its containers share their
// process namespace. A container is one image's filesystem and one first
// process in a pod. An owner ("cri", "local") is the API that made a pod; each
// owner sees only its own.
//
// Every pod and container has a record on disk, written before the call that
// made it returns. What runs is the runtime's to know, so a record says what was
// asked for and how it ended, and a restarted engine takes the rest from
// Runtime.List. A record of an earlier boot describes something that is gone.
//
// Locks: a pod's op before a container's op before Engine.mu before an object's
// mu. op is held through a whole operation, mu only to read or change fields.
package engine
