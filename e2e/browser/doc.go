// Package browser has no code of its own: its tests use the chat page of
// "gatebus dev" and the pages of the examples in a real browser, each with several
// windows, as somebody would who tries gatebus for the first time. They need Chromium; without it they are skipped, or fail where
// GATEBUS_TEST_REQUIRE_ALL=1 says that all parts must be there.
package browser
