"""C types of the core: what _scan.h and _front.h declare, and how the book lies in memory."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size) noexcept

cdef extern from "_scan.h" nogil:
    int64_t NO_SCORE
    ctypedef struct figures_t:
        int32_t price[64]
        int32_t completion[64]
        uint32_t latency[64]
        int32_t free_slots[64]
        int32_t blocks[64]
        int32_t reserved[1]
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
    int64_t score_page(const figures_t *lane, const scan_t *bid, int64_t *scores) noexcept
    int64_t filter_providers(
        const int32_t *provider, const int32_t *listed, int count, int only, int64_t *scores) noexcept
    void tighten_box(figures_t *lane, figures_t *box, int at) noexcept
    void widen_box(const figures_t *lane, int i, figures_t *box, int at) noexcept
    void report_lane(
        figures_t *lane, int i, figures_t *box, int at,
        int64_t latency, int64_t tpot, int64_t free_tokens, int64_t free_slots) noexcept
    void fetch_lane(const figures_t *lane, int i) noexcept
    void fetch(const void *what) noexcept
    int all_within(const int64_t *values, int64_t n, int64_t least, int64_t most) noexcept


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


cdef struct page_t:
    figures_t lanes
    int32_t provider[64]
    int32_t slot[64]
    int32_t claimed_slots[64]
    int64_t claimed_tokens[64]
    page_t *next  # of the spare ones

cdef struct boxes_t:
    figures_t lanes
    uint8_t loose[64]

cdef struct partition_t:
    int32_t gpu_centi
    int64_t count
    int64_t room  # pages and boxes that the two lists can point to
    page_t **pages
    boxes_t **boxes

cdef struct slot_t:
    int32_t partition  # -1: free, and `place` is the next free slot
    int32_t place  # the how manieth of its partition
    int64_t generation

cdef struct best_t:
    point_t point
    page_t *page
    boxes_t *boxes
    int64_t box
    int lane
