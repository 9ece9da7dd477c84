# Part of _core.pyx: what is done with single nodes and single scans.

cdef class _Collector:
    """A growing array of points."""

    cdef point_t *items
    cdef int64_t count, room
    cdef sieve_t sieve

    def __dealloc__(self):
        free(self.items)

    cdef int append(self, const point_t *point) except -1:
        cdef int64_t room
        cdef void *larger
        if self.count == self.room:
            room = self.room * 2 + 64
            larger = realloc(self.items, room * sizeof(point_t))
            if larger == NULL:
                raise MemoryError
            self.items, self.room = <point_t *>larger, room
        self.items[self.count] = point[0]
        self.count += 1
        return 0


# --- one page -------------------------------------------------------------------------------------------------------


cdef int _check_terms(int64_t price_ticks, int64_t completion_price_ticks, int64_t reserve_units) except -1:
    _within(price_ticks, 1, _MAX_PRICE_TICKS, "price_ticks")
    _within(completion_price_ticks, 1, _MAX_PRICE_TICKS, "completion_price_ticks")
    _within(reserve_units, 0, _MAX_RESERVE_UNITS, "reserve_units")
    return 0


cdef int _check_state(int64_t latency_us, int64_t tpot_ns, int64_t tokens, int64_t slots) except -1:
    _within(latency_us, 1, _MAX_LATENCY_US, "latency_us")
    _within(tpot_ns, 1, _MAX_TPOT_NS, "tpot_ns")
    _within(tokens, 0, _MAX_CAPACITY_TOKENS, "capacity_tokens")
    _within(slots, 0, _MAX_CAPACITY_SLOTS, "capacity_slots")
    return 0


cdef int _check_all(const int64_t[::1] values, int64_t least, int64_t most, str field) except -1:
    if not all_within(&values[0], values.shape[0], least, most):
        raise OutOfRange(field, f"must be {least} to {most} everywhere")
    return 0


cdef inline void _set_terms(node_t *page, int lane, int64_t price, int64_t completion, int64_t reserve) noexcept:
    page.price[lane] = <int32_t>price
    page.completion[lane] = <int32_t>completion
    page.reserve[lane] = reserve
    page.reserved |= reserve != 0


@cython.overflowcheck(False)
cdef inline int64_t _free_slots(const slot_t *slot) noexcept:
    return slot.page.node.free_slots[slot.lane] + (BLOCKED if slot.blocks else 0)


@cython.overflowcheck(False)  # what is claimed had been free
cdef void _take(slot_t *slot, int64_t tokens) noexcept:
    """Claim what a match needs. The box still covers the ask."""
    slot.page.node.free_tokens[slot.lane] -= tokens
    slot.page.node.free_slots[slot.lane] -= 1
    slot.claimed_tokens += tokens
    slot.claimed_slots += 1
    loosen(slot.page.node.parent, slot.page.node.at)


# --- one scan -------------------------------------------------------------------------------------------------------
# Overflow cannot happen here: _scan.h gives the bounds, which are checked where figures enter. Without the checks the
# loops are as fast as C.


@cython.overflowcheck(False)
cdef inline void _aim(Query query, const partition_t *part) noexcept:
    """Point the scan at a partition: its GPU's multiplier turns both money limits into one of price times tokens."""
    query.scan.gpu_centi = part.gpu_centi
    query.scan.blend_max = min(query.price_blend_max, query.cost_max // part.gpu_centi)


@cython.overflowcheck(False)
cdef inline void _corner(const node_t *node, int at, Query query, point_t *point) noexcept:
    """The figures of one ask, or the best that a box allows."""
    point.cost = query.scan.gpu_centi * (
        <int64_t>node.price[at] * query.scan.prompt + <int64_t>node.completion[at] * query.scan.completion)
    point.latency = node.latency[at]
    point.tpot = node.tpot[at]
    point.age = node.age[at]


cdef inline int64_t _score(const node_t *node, Query query, int64_t *scores) noexcept:
    """Scores of a node's asks, or the least that its boxes allow."""
    cdef int64_t least = score_page(node, &query.scan, scores)
    if node.height:
        return least
    if not query.any_provider and least != NO_SCORE:
        least = filter_providers((<page_t *>node).provider, query.only, query.only_count, True, scores)
    if query.exclude_count and least != NO_SCORE:
        least = filter_providers((<page_t *>node).provider, query.exclude, query.exclude_count, False, scores)
    return least


@cython.overflowcheck(False)
cdef void _search(node_t *node, Query query, int64_t least, int64_t *scores, search_t *search) noexcept:
    """Look through what lies below a node as long as it may hold something better, the most promising first.
    `scores` are those of its lanes; they are used up."""
    cdef int64_t below[64]
    cdef point_t point
    cdef node_t *child
    cdef int lane
    while least <= search.best.score and least != NO_SCORE:
        lane = lane_of(scores, least)
        scores[lane] = NO_SCORE
        _corner(node, lane, query, &point)
        point.score = least
        if by_score(&point, &search.best) < 0:
            if node.height:
                child = (<inner_t *>node).child[lane]
                search.scanned += 1
                _search(child, query, _score(child, query, below), below, search)
            else:
                search.best, search.page, search.lane = point, <page_t *>node, lane
        least = least_of(scores)
    if node.parent != NULL and node.parent.node.loose >> node.at & 1:
        tighten(node)
        if node.height == 0 and search.untidy_count < 32:
            search.untidy[search.untidy_count] = <page_t *>node
            search.untidy_count += 1


cdef void _scan_all(node_t *node, Query query, search_t *search) noexcept:
    """The same without any thought: every page."""
    cdef int64_t scores[64]
    cdef int64_t least
    cdef int lane
    cdef point_t point
    if node == NULL:
        return
    if node.height:
        for lane in range(node.count):
            _scan_all((<inner_t *>node).child[lane], query, search)
        return
    least = _score(node, query, scores)
    if least == NO_SCORE or least > search.best.score:
        return
    for lane in range(node.count):
        if scores[lane] == least:
            _corner(node, lane, query, &point)
            point.score = least
            if by_score(&point, &search.best) < 0:
                search.best, search.page, search.lane = point, <page_t *>node, lane


# --- counting -------------------------------------------------------------------------------------------------------


cdef inline bint _listed(const int32_t *listed, int count, int64_t number) noexcept:
    cdef int i
    for i in range(count):
        if listed[i] == number:
            return True
    return False


@cython.overflowcheck(False)
cdef void _count(const slot_t *slots, const node_t *node, Query query, bint wrong_gpu, int64_t *counts) noexcept:
    """Add up what keeps the asks below a node from the bid; the order is that of Book.census."""
    cdef int lane
    if node == NULL:
        return
    for lane in range(node.count):
        if node.height:
            _count(slots, (<inner_t *>node).child[lane], query, wrong_gpu, counts)
        else:
            _count_ask(&slots[(<page_t *>node).slot[lane]], query, wrong_gpu, counts)


@cython.overflowcheck(False)
cdef void _count_ask(const slot_t *slot, Query query, bint wrong_gpu, int64_t *counts) noexcept:
    cdef const page_t *page = slot.page
    cdef int lane = slot.lane
    cdef bint fails[16]
    cdef bint refused = False, waits = False
    cdef int i
    cdef point_t point
    _corner(&page.node, lane, query, &point)
    fails[0] = point.cost > query.price_blend_max * query.scan.gpu_centi
    fails[1] = point.cost > query.cost_max
    fails[2] = point.latency > query.scan.latency_max
    fails[3] = point.tpot > query.scan.tpot_max
    fails[4] = wrong_gpu
    fails[5] = (not query.any_provider and not _listed(query.only, query.only_count, page.provider[lane])
                or _listed(query.exclude, query.exclude_count, page.provider[lane]))
    fails[6] = page.node.free_tokens[lane] < query.scan.need or _free_slots(slot) < 1
    fails[7] = point.cost < page.node.reserve[lane] * query.scan.tokens
    for i in range(8):
        fails[8 + i] = slot.blocks >> i & 1
    for i in range(16):
        counts[3 + i] += fails[i]
        refused |= fails[i] and i < 8 and i != 6
        waits |= fails[i] and (i >= 8 or i == 6)
    counts[0] += 1
    counts[1] += not refused and not waits
    counts[2] += waits and not refused


@cython.overflowcheck(False)
cdef void _total(const node_t *node, totals_t *totals) noexcept:
    """Add up what is free below a node."""
    cdef int lane
    if node == NULL:
        return
    for lane in range(node.count):
        if node.height:
            _total((<inner_t *>node).child[lane], totals)
        elif not available(node, lane):
            totals.others += 1
        else:
            totals.available += 1
            totals.free_tokens_high += node.free_tokens[lane] >> 32
            totals.free_tokens_low += node.free_tokens[lane] & 0xFFFFFFFF
            totals.free_slots += node.free_slots[lane]
            totals.least_sum = min(totals.least_sum, node.price[lane] + node.completion[lane])
