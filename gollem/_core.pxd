"""C types of the core: what the headers declare, and how a search goes."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from "_scan.h" nogil:
    int64_t NO_SCORE
    int BLOCKED
    int LANES
    ctypedef struct node_t:
        int32_t price[64]
        int32_t completion[64]
        uint32_t latency[64]
        int32_t free_slots[64]
        int32_t reserved
        int32_t at
        int32_t count
        int32_t height
        inner_t *parent
        uint64_t loose
        int64_t tpot[64]
        int64_t free_tokens[64]
        int64_t reserve[64]
        int64_t age[64]
    ctypedef struct scale_t:
        int64_t cap
        int64_t factor
        int64_t shift
    ctypedef struct scan_t:
        int32_t prompt
        int32_t completion
        int32_t gpu_centi
        int64_t tokens
        int64_t need
        int64_t blend_max
        int64_t latency_max
        int64_t tpot_max
        scale_t cost_scale
        scale_t latency_scale
        scale_t tpot_scale
    int64_t scaled(int64_t value, scale_t scale) noexcept
    int64_t score_page(const node_t *lane, const scan_t *bid, int64_t *scores) noexcept
    int64_t filter_providers(
        const int32_t *provider, const int32_t *listed, int count, int only, int64_t *scores) noexcept
    int available(const node_t *lane, int i) noexcept
    int64_t least_of(const int64_t *scores) noexcept
    int lane_of(const int64_t *scores, int64_t least) noexcept
    void fetch_lane(const node_t *lane, int i) noexcept
    void fetch_box(const node_t *lane, int i) noexcept
    void fetch(const void *what) noexcept
    int all_within(const int64_t *values, int64_t n, int64_t least, int64_t most) noexcept


cdef extern from "_key.h" nogil:
    int64_t key_for(int64_t price_sum, int64_t latency, int64_t tpot, int64_t free_tokens) noexcept
    void extend_cell(node_t *page, int i) noexcept


cdef extern from "_tree.h" nogil:
    ctypedef struct page_t:
        node_t node
        int32_t provider[64]
        int32_t slot[64]
    ctypedef struct inner_t:
        node_t node
        node_t *child[64]
    ctypedef struct slot_t:
        page_t *page
        int64_t claimed_tokens
        int32_t claimed_slots
        int32_t generation
        int32_t lane
        int32_t blocks
    ctypedef struct store_t:
        slot_t *slots
        int64_t bytes
        int limit
    void free_tree(node_t *node) noexcept
    void free_spare(store_t *store) noexcept
    void cover(node_t *node, int lane) noexcept
    void loosen(inner_t *inner, int at) noexcept
    void tighten(node_t *node) noexcept
    void report(const slot_t *slot, int64_t latency, int64_t tpot, int64_t tokens, int64_t slots) noexcept
    inner_t *new_root(store_t *store) noexcept
    page_t *roomy_page_for(store_t *store, inner_t *root, int64_t key) noexcept
    void remove_ask(store_t *store, page_t *page, int lane) noexcept
    void tidy_page(store_t *store, page_t *page) noexcept


cdef extern from "_check.h" nogil:
    const char *check_node(const store_t *store, const node_t *node) noexcept


cdef extern from "_front.h" nogil:
    ctypedef struct point_t:
        int64_t cost
        int64_t latency
        int64_t tpot
        int64_t age
        int64_t score
        int64_t handle
    ctypedef struct sieve_t:
        int count
    int by_score(const void *left, const void *right) noexcept
    int sieve_covers(const sieve_t *sieve, const point_t *corner) noexcept
    void sieve_learn(sieve_t *sieve, const point_t *point) noexcept
    int64_t keep_front(point_t *points, int64_t n) noexcept


cdef struct partition_t:
    int32_t gpu_centi
    inner_t *root  # NULL until its first ask

cdef struct search_t:
    point_t best
    page_t *page  # of the best; NULL: nothing was found
    int lane
    int64_t scanned  # nodes
    int untidy_count
    page_t *untidy[32]  # scanned, and changed since they were last scanned

cdef struct totals_t:
    int64_t available
    int64_t others
    int64_t free_tokens_high  # of those available, as is the rest; in two halves, as the sum may pass 2^63
    int64_t free_tokens_low
    int64_t free_slots
    int64_t least_sum
