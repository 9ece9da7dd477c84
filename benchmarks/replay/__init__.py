"""Real requests against real asks, over gRPC, on an exchange of its own: `python -m benchmarks.replay`."""
