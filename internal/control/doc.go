// Package control is how commands speak to the agent of a cluster on the same
// host: a Unix socket, a JSON message per packet, and open files beside them.
// Each connection carries one Request and what its operation goes on with.
package control
