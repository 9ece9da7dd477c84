"""The parts of `benchmarks.bench_ledger`: the workload, the ledger, its limit, and the peer."""
