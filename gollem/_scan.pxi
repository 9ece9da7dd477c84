# Part of _core.pyx: what is done with single pages and single scans.

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


cdef inline int64_t _pages(int64_t asks) noexcept:
    return (asks + 63) // 64


cdef inline void _set_terms(page_t *page, int lane, int64_t price, int64_t completion, int64_t reserve) noexcept:
    page.lanes.price[lane] = <int32_t>price
    page.lanes.completion[lane] = <int32_t>completion
    page.lanes.reserve[lane] = reserve
    page.lanes.reserved[0] |= reserve != 0


@cython.overflowcheck(False)  # at most 10^12 and 2^16, less at most 2^60 and 2^29
cdef inline void _set_state(
        partition_t *part, size_t place, int64_t latency, int64_t tpot, int64_t tokens, int64_t slots) noexcept:
    """New figures of an ask whose capacity is `tokens` and `slots` in all."""
    cdef page_t *page = part.pages[place // 64]
    cdef boxes_t *boxes = part.boxes[place // 4096]
    cdef int lane = place % 64
    report_lane(&page.lanes, lane, &boxes.lanes, place // 64 % 64, latency, tpot,
                tokens - page.claimed_tokens[lane], slots - page.claimed_slots[lane])
    boxes.loose[place // 64 % 64] = True


cdef inline void _widen(partition_t *part, size_t place) noexcept:
    """Cover a changed ask, and have its box tightened when next scanned."""
    cdef boxes_t *boxes = part.boxes[place // 4096]
    widen_box(&part.pages[place // 64].lanes, place % 64, &boxes.lanes, place // 64 % 64)
    boxes.loose[place // 64 % 64] = True


cdef void _empty_lane(page_t *page, int lane) noexcept:
    page.lanes.blocks[lane] = EMPTY_LANE
    page.lanes.free_slots[lane] = 0
    page.lanes.reserve[lane] = 0


cdef void _copy_lane(page_t *into, int to, const page_t *page, int lane) noexcept:
    into.lanes.price[to] = page.lanes.price[lane]
    into.lanes.completion[to] = page.lanes.completion[lane]
    into.lanes.latency[to] = page.lanes.latency[lane]
    into.lanes.free_slots[to] = page.lanes.free_slots[lane]
    into.lanes.blocks[to] = page.lanes.blocks[lane]
    into.lanes.tpot[to] = page.lanes.tpot[lane]
    into.lanes.free_tokens[to] = page.lanes.free_tokens[lane]
    into.lanes.reserve[to] = page.lanes.reserve[lane]
    into.lanes.age[to] = page.lanes.age[lane]
    into.lanes.reserved[0] |= page.lanes.reserve[lane] != 0
    into.provider[to] = page.provider[lane]
    into.slot[to] = page.slot[lane]
    into.claimed_slots[to] = page.claimed_slots[lane]
    into.claimed_tokens[to] = page.claimed_tokens[lane]


# --- one scan -------------------------------------------------------------------------------------------------------
# Overflow cannot happen here: _scan.h gives the bounds, which are checked where figures enter. Without the checks the
# loops are as fast as C.


@cython.overflowcheck(False)
cdef inline void _aim(Query query, const partition_t *part) noexcept:
    """Point the scan at a partition: its GPU's multiplier turns both money limits into one of price times tokens."""
    query.scan.gpu_centi = part.gpu_centi
    query.scan.blend_max = min(query.price_blend_max, query.cost_max // part.gpu_centi)


@cython.overflowcheck(False)
cdef inline void _corner(const figures_t *lanes, int at, Query query, point_t *point) noexcept:
    """The figures of one ask, or the best that a box allows."""
    point.cost = query.scan.gpu_centi * (
        <int64_t>lanes.price[at] * query.scan.prompt + <int64_t>lanes.completion[at] * query.scan.completion)
    point.latency = lanes.latency[at]
    point.tpot = lanes.tpot[at]
    point.age = lanes.age[at]


cdef inline int64_t _score(const page_t *page, Query query, int64_t *scores) noexcept:
    cdef int64_t least = score_page(&page.lanes, &query.scan, scores)
    if not query.any_provider and least != NO_SCORE:
        least = filter_providers(page.provider, query.only, query.only_count, True, scores)
    if query.exclude_count and least != NO_SCORE:
        least = filter_providers(page.provider, query.exclude, query.exclude_count, False, scores)
    return least


@cython.overflowcheck(False)
cdef void _search(partition_t *part, Query query, best_t *best) noexcept:
    """Scan the pages whose boxes may hold something better, the most promising first of each 64."""
    cdef int64_t bounds[64]
    cdef int64_t base, k, first, least
    cdef boxes_t *boxes
    cdef point_t corner
    _aim(query, part)
    for base in range(0, _pages(part.count), 64):
        boxes = part.boxes[base // 64]
        least = score_page(&boxes.lanes, &query.scan, bounds)
        if least > best.point.score or least == NO_SCORE:
            continue
        first = 0
        while bounds[first] != least:
            first += 1
        _visit(part.pages[base + first], boxes, first, query, best)
        for k in range(min(64, _pages(part.count) - base)):
            if bounds[k] <= best.point.score and k != first and bounds[k] != NO_SCORE:
                _corner(&boxes.lanes, k, query, &corner)
                corner.score = bounds[k]
                if by_score(&corner, &best.point) < 0:
                    _visit(part.pages[base + k], boxes, k, query, best)


cdef void _visit(page_t *page, boxes_t *boxes, int64_t box, Query query, best_t *best) noexcept:
    """Scan one page, and tighten its box if that has become loose."""
    cdef int64_t scores[64]
    cdef int64_t least = _score(page, query, scores)
    cdef point_t point
    cdef int lane
    if least <= best.point.score and least != NO_SCORE:
        for lane in range(64):
            if scores[lane] == least:
                _corner(&page.lanes, lane, query, &point)
                point.score = least
                if by_score(&point, &best.point) < 0:
                    best.point = point
                    best.page, best.lane, best.boxes, best.box = page, lane, boxes, box
    if boxes.loose[box]:
        tighten_box(&page.lanes, &boxes.lanes, box)
        boxes.loose[box] = False


# --- counting -------------------------------------------------------------------------------------------------------


cdef inline bint _listed(const int32_t *listed, int count, int64_t number) noexcept:
    cdef int i
    for i in range(count):
        if listed[i] == number:
            return True
    return False


@cython.overflowcheck(False)
cdef void _count(const partition_t *part, Query query, bint wrong_gpu, int64_t *counts) noexcept:
    """Add up what keeps the asks of one partition from the bid; the order is that of Book.census."""
    cdef int64_t place
    cdef const page_t *page
    cdef bint fails[16]
    cdef bint refused, waits
    cdef int lane, i
    cdef point_t point
    _aim(query, part)
    for place in range(part.count):
        page, lane = part.pages[place // 64], place % 64
        _corner(&page.lanes, lane, query, &point)
        fails[0] = point.cost > query.price_blend_max * part.gpu_centi
        fails[1] = point.cost > query.cost_max
        fails[2] = point.latency > query.scan.latency_max
        fails[3] = point.tpot > query.scan.tpot_max
        fails[4] = wrong_gpu
        fails[5] = (not query.any_provider and not _listed(query.only, query.only_count, page.provider[lane])
                    or _listed(query.exclude, query.exclude_count, page.provider[lane]))
        fails[6] = page.lanes.free_tokens[lane] < query.scan.need or page.lanes.free_slots[lane] < 1
        fails[7] = point.cost < page.lanes.reserve[lane] * query.scan.tokens
        for i in range(8):
            fails[8 + i] = page.lanes.blocks[lane] >> i & 1
        refused = waits = False
        for i in range(16):
            counts[3 + i] += fails[i]
            refused |= fails[i] and i < 8 and i != 6
            waits |= fails[i] and (i >= 8 or i == 6)
        counts[0] += 1
        counts[1] += not refused and not waits
        counts[2] += waits and not refused
