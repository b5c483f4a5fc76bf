// Package e2e tests the real binary on real traffic: clusters in network
// namespaces (internal/lab), judged by what reached prerouting on each node
// and by what was on the wire, not by answers alone. The tests need root and
// the build tag privileged.
package e2e
