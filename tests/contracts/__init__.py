"""One contract a promise, run against everything that makes it."""
