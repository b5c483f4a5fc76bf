// Package archtest holds the test that keeps the module's import rules: which
// package may import which, who alone may use a library, that each package says
// what it is, and that no file grows too long.
package archtest
