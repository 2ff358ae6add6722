// Package examples has no code of its own: its tests run the examples in the
// directories below as their READMEs say, each with real clients. What needs a
// part that is not installed is skipped, or fails where
// GATEBUS_TEST_REQUIRE_ALL=1 says that all parts must be there.
package examples
