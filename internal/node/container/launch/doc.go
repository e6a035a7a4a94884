// Package launch turns an OCI runtime specification into a running process.
//
// Everything a container needs is written down beforehand as a table of system
// calls, in memory that the garbage collector does not own. One
// clone3(CLONE_VM|CLONE_VFORK) makes a child that runs the table entry by entry
// up to execve: no second program, no Go code and no allocation in the child.
// Each entry knows which step of which path it is, so a failed start says which
// call failed on what.
//
// Words used here:
//
//   - parent: the program that calls Start (the keeper). It opens what lies on
//     the host, such as bind sources and overlay layers, as detached mounts.
//   - child: the task that runs the table and becomes the container's process.
//   - template: a mount namespace that holds next to nothing. The child
//     copies it in place of the host's mount namespace, so the cost of a start
//     does not grow with what is mounted on the host, and no half-made container
//     ever holds a mount of the host busy. Propagation does not suffer: a
//     detached copy made by open_tree in the host's namespace stays a peer or a
//     slave of the mount it was made from.
//
// The child changes its root before it mounts anything, and looks every mount
// point up with RESOLVE_NO_MAGICLINKS. A symbolic link in an image can therefore
// lead a mount only to another place in the same image.
package launch
