# cython: cdivision=True
# (no operand of a division is negative)
"""The order book's compiled heart: asks in pages of 64, matches by a vectorised scan. Knows numbers only.

Asks lie in partitions (one model on one GPU type), each a dense run of pages: an ask that leaves is replaced by the last
one. The boxes of 64 pages form a page of their own, so that one scan tells which of 64 pages can win. A box covers its
asks at all times; it is tightened when its page is scanned.

A handle names an ask until it is removed; afterwards it names nothing, even when its slot is used again.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport free, qsort, realloc
from libc.string cimport memset

# The bounds on which the arithmetic of _scan.h rests.
MAX_PRICE_TICKS = 10**8
MAX_TOKENS = 2**24 - 1
MAX_GPU_CENTI = 1_000
MAX_LATENCY_US = 3_600_000_000
MAX_TPOT_NS = 10**13
MAX_CAPACITY_TOKENS = 10**12
MAX_CAPACITY_SLOTS = 65_536
MAX_RESERVE_UNITS = 2**37
MAX_CLAIMED_TOKENS = 2**60
MAX_CLAIMED_SLOTS = 2**29
MAX_TERM = 2**61
MAX_LISTED = 64
MAX_PARTITIONS = 65_536
NO_LIMIT = 2**62

# The same as C numbers.
cdef int64_t _MAX_PRICE_TICKS = MAX_PRICE_TICKS
cdef int64_t _MAX_TOKENS = MAX_TOKENS
cdef int64_t _MAX_RESERVE_UNITS = MAX_RESERVE_UNITS
cdef int64_t _MAX_LATENCY_US = MAX_LATENCY_US
cdef int64_t _MAX_TPOT_NS = MAX_TPOT_NS
cdef int64_t _MAX_CAPACITY_TOKENS = MAX_CAPACITY_TOKENS
cdef int64_t _MAX_CAPACITY_SLOTS = MAX_CAPACITY_SLOTS
cdef int64_t _MAX_CLAIMED_TOKENS = MAX_CLAIMED_TOKENS
cdef int64_t _MAX_CLAIMED_SLOTS = MAX_CLAIMED_SLOTS
cdef int64_t _MAX_TERM = MAX_TERM
cdef int64_t _MAX_LISTED = MAX_LISTED
cdef int64_t _NO_LIMIT = NO_LIMIT
cdef int32_t EMPTY_LANE = 1 << 30
cdef int32_t ALL_BLOCKS = (1 << 8) - 1
cdef int64_t MAX_GENERATION = 2**31 - 1
cdef int64_t MAX_SLOTS = 2**31 - 1


class OutOfRange(ValueError):
    """A figure is outside its bounds; `field` names it, `rule` tells the bounds."""

    def __init__(self, field, rule):
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


cdef inline int64_t _within(int64_t value, int64_t least, int64_t most, str field) except? -1:
    if value < least or value > most:
        raise OutOfRange(field, f"must be {least} to {most}, not {value}")
    return value


cdef class Query:
    """A bid in the core's terms. Limits that are not stated are NO_LIMIT.

    `scales` is nine integers: cap, factor and shift of cost, latency and time per token. A term of the score is
    min(value >> shift, cap) * factor, and may not exceed MAX_TERM.
    `partitions` are those to look at, `only` and `exclude` numbers of providers, `only` None for any.
    Raises OutOfRange.
    """

    cdef scan_t scan
    cdef int64_t price_blend_max
    cdef int64_t cost_max
    cdef int partition_count, only_count, exclude_count
    cdef bint any_provider
    cdef int32_t partitions[64]
    cdef int32_t only[64]
    cdef int32_t exclude[64]

    def __init__(
        self, tuple partitions not None, int64_t prompt_tokens, int64_t max_tokens, int64_t need_tokens,
        int64_t max_price_ticks, int64_t max_cost_units, int64_t max_latency_us, int64_t max_tpot_ns,
        tuple scales not None, tuple only=None, tuple exclude=(),
    ):
        self.scan.prompt = _within(prompt_tokens, 0, _MAX_TOKENS, "prompt_tokens")
        self.scan.completion = _within(max_tokens, 0, _MAX_TOKENS, "max_tokens")
        self.scan.tokens = _within(prompt_tokens + max_tokens, 1, _MAX_TOKENS, "prompt_tokens + max_tokens")
        self.scan.need = _within(need_tokens, 1, _MAX_TOKENS, "need_tokens")
        _within(max_price_ticks, 0, _NO_LIMIT, "max_price_ticks")
        # No price is above MAX_PRICE_TICKS, so that a limit beyond it is none.
        self.price_blend_max = min(max_price_ticks, _MAX_PRICE_TICKS) * self.scan.tokens
        self.cost_max = _within(max_cost_units, 0, _NO_LIMIT, "max_cost_units")
        self.scan.latency_max = _within(max_latency_us, 0, _NO_LIMIT, "max_latency_us")
        self.scan.tpot_max = _within(max_tpot_ns, 0, _NO_LIMIT, "max_tpot_ns")
        if len(scales) != 9:
            raise OutOfRange("scales", "must be nine integers")
        _read_scale(&self.scan.cost_scale, scales[0], scales[1], scales[2])
        _read_scale(&self.scan.latency_scale, scales[3], scales[4], scales[5])
        _read_scale(&self.scan.tpot_scale, scales[6], scales[7], scales[8])
        self.partition_count = _read_list(self.partitions, partitions, "partitions")
        self.any_provider = only is None
        self.only_count = 0 if only is None else _read_list(self.only, only, "only")
        self.exclude_count = _read_list(self.exclude, exclude, "exclude")


cdef int _read_scale(scale_t *scale, int64_t cap, int64_t factor, int64_t shift) except -1:
    _within(factor, 0, _MAX_TERM, "factor")
    _within(cap, 0, _MAX_TERM // max(factor, 1), "cap")
    _within(shift, 0, 62, "shift")
    scale.cap, scale.factor, scale.shift = cap, factor, shift
    return 0


cdef int _read_list(int32_t *into, tuple numbers, str field) except -1:
    cdef int i
    cdef int n = <int>_within(len(numbers), 0, _MAX_LISTED, field)
    for i in range(n):
        into[i] = <int32_t>_within(numbers[i], 0, MAX_SLOTS, field)
    return n


cdef class Book:
    """All asks. Every method that takes a figure raises OutOfRange and then changes nothing."""

    cdef slot_t *slots
    cdef int64_t slot_room, slots_used, live
    cdef int32_t free_slot
    cdef partition_t *partitions
    cdef int32_t partition_count
    cdef page_t *spare
    cdef int64_t next_age
    cdef int64_t bytes

    def __cinit__(self):
        self.free_slot = -1

    def __dealloc__(self):
        cdef int64_t i, k
        cdef page_t *page
        for i in range(self.partition_count):
            for k in range(_pages(self.partitions[i].count)):
                free(self.partitions[i].pages[k])
            for k in range(_pages(_pages(self.partitions[i].count))):
                free(self.partitions[i].boxes[k])
            free(self.partitions[i].pages)
            free(self.partitions[i].boxes)
        while self.spare != NULL:
            page = self.spare
            self.spare = page.next
            free(page)
        free(self.partitions)
        free(self.slots)

    def __len__(self):
        return self.live

    def memory_bytes(self):
        """Bytes allocated, spare pages included."""
        return self.bytes

    # --- asks -------------------------------------------------------------------------------------------------------

    def partition(self, int64_t gpu_centi):
        """A new, empty partition; its number. `gpu_centi` is the multiplier of its GPU type in hundredths."""
        cdef partition_t *fresh
        _within(gpu_centi, 1, MAX_GPU_CENTI, "gpu_centi")
        _within(self.partition_count + 1, 1, MAX_PARTITIONS, "partitions")
        self.partitions = <partition_t *>self._grown(
            self.partitions, self.partition_count, self.partition_count + 1, sizeof(partition_t))
        fresh = &self.partitions[self.partition_count]
        memset(fresh, 0, sizeof(partition_t))
        fresh.gpu_centi = <int32_t>gpu_centi
        self.partition_count += 1
        return self.partition_count - 1

    def add(
        self, int64_t partition, int64_t provider, int64_t price_ticks, int64_t completion_price_ticks,
        int64_t reserve_units, int64_t latency_us, int64_t tpot_ns, int64_t capacity_tokens, int64_t capacity_slots,
    ):
        """A new ask, younger than all others; its handle. `reserve_units` is the least cost units a token."""
        cdef partition_t *part
        cdef page_t *page
        cdef slot_t *slot
        cdef int64_t index, at
        cdef int lane
        _within(partition, 0, self.partition_count - 1, "partition")
        _within(provider, 0, MAX_SLOTS, "provider")
        _check_terms(price_ticks, completion_price_ticks, reserve_units)
        _check_state(latency_us, tpot_ns, capacity_tokens, capacity_slots)
        part = &self.partitions[partition]
        at = part.count
        self._make_slot_room()
        self._make_room(part)
        index = self._take_slot()
        slot = &self.slots[index]
        slot.partition, slot.place = <int32_t>partition, <int32_t>at
        page, lane = part.pages[at // 64], <int>(at % 64)
        page.slot[lane] = <int32_t>index
        page.provider[lane] = <int32_t>provider
        page.claimed_slots[lane] = 0
        page.claimed_tokens[lane] = 0
        page.lanes.blocks[lane] = 0
        page.lanes.age[lane] = self.next_age
        self.next_age += 1
        self.live += 1
        part.count += 1
        _set_terms(page, lane, price_ticks, completion_price_ticks, reserve_units)
        page.lanes.free_slots[lane] = 0
        _set_state(part, at, latency_us, tpot_ns, capacity_tokens, capacity_slots)
        return slot.generation << 32 | index

    def change(
        self, int64_t handle, int64_t price_ticks, int64_t completion_price_ticks, int64_t reserve_units,
        int64_t latency_us, int64_t tpot_ns, int64_t capacity_tokens, int64_t capacity_slots,
    ):
        """New figures; age, claims and blocks stay. False if the handle names nothing."""
        cdef slot_t *slot = self._find(handle)
        _check_terms(price_ticks, completion_price_ticks, reserve_units)
        _check_state(latency_us, tpot_ns, capacity_tokens, capacity_slots)
        if slot == NULL:
            return False
        cdef page_t *page = self._page(slot)
        cdef partition_t *part = &self.partitions[slot.partition]
        _set_terms(page, slot.place % 64, price_ticks, completion_price_ticks, reserve_units)
        _set_state(part, slot.place, latency_us, tpot_ns, capacity_tokens, capacity_slots)
        _widen(part, slot.place)
        return True

    @cython.overflowcheck(False)  # of the counts up to n; figures are checked
    def update(
        self, const int64_t[::1] handles, const int64_t[::1] latency_us, const int64_t[::1] tpot_ns,
        const int64_t[::1] capacity_tokens, const int64_t[::1] capacity_slots,
    ):
        """Telemetry of n asks, arrays of one length. Handles that name nothing are passed over. How many applied."""
        cdef int64_t i, n = handles.shape[0], applied = 0
        cdef slot_t *slot
        if not (latency_us.shape[0] == tpot_ns.shape[0] == capacity_tokens.shape[0] == capacity_slots.shape[0] == n):
            raise OutOfRange("arrays", "must be of one length")
        if n == 0:
            return 0
        _check_all(latency_us, 1, MAX_LATENCY_US, "latency_us")
        _check_all(tpot_ns, 1, MAX_TPOT_NS, "tpot_ns")
        _check_all(capacity_tokens, 0, MAX_CAPACITY_TOKENS, "capacity_tokens")
        _check_all(capacity_slots, 0, MAX_CAPACITY_SLOTS, "capacity_slots")
        for i in range(n):
            self._fetch_ahead(handles, i, n)
            slot = self._find(handles[i])
            if slot != NULL:
                _set_state(&self.partitions[slot.partition], slot.place,
                           latency_us[i], tpot_ns[i], capacity_tokens[i], capacity_slots[i])
                applied += 1
        return applied

    def remove(self, int64_t handle):
        """Take an ask out; the last of its partition takes its place. False if the handle names nothing."""
        cdef slot_t *slot = self._find(handle)
        if slot == NULL:
            return False
        cdef partition_t *part = &self.partitions[slot.partition]
        cdef int64_t place = slot.place, last = part.count - 1
        cdef page_t *from_page = part.pages[last // 64]
        if place != last:
            _copy_lane(part.pages[place // 64], place % 64, from_page, last % 64)
            self.slots[from_page.slot[last % 64]].place = <int32_t>place
            _widen(part, place)
        _empty_lane(from_page, last % 64)
        part.boxes[last // 4096].loose[last // 64 % 64] = True
        part.count = last
        self._drop_room(part)
        self._free_slot(<uint32_t>handle)
        return True

    def set_blocks(self, int64_t handle, int32_t blocks):
        """Eight bits, any of which keeps the ask from being matched. False if the handle names nothing."""
        cdef slot_t *slot = self._find(handle)
        _within(blocks, 0, ALL_BLOCKS, "blocks")
        if slot == NULL:
            return False
        self._page(slot).lanes.blocks[slot.place % 64] = blocks
        _widen(&self.partitions[slot.partition], slot.place)
        return True

    def claim(self, int64_t handle, int64_t tokens, int64_t slots=1):
        """Take capacity, even below zero. Negative numbers give back, to no less than nothing claimed.
        False if the handle names nothing."""
        cdef slot_t *slot = self._find(handle)
        cdef page_t *page
        cdef int lane
        cdef int64_t claimed_tokens, claimed_slots
        _within(tokens, -_MAX_CLAIMED_TOKENS, _MAX_CLAIMED_TOKENS, "tokens")
        _within(slots, -_MAX_CLAIMED_SLOTS, _MAX_CLAIMED_SLOTS, "slots")
        if slot == NULL:
            return False
        page, lane = self._page(slot), slot.place % 64
        claimed_tokens = _within(
            max(page.claimed_tokens[lane] + tokens, 0), 0, _MAX_CLAIMED_TOKENS, "claimed tokens")
        claimed_slots = _within(max(page.claimed_slots[lane] + slots, 0), 0, _MAX_CLAIMED_SLOTS, "claimed slots")
        page.lanes.free_tokens[lane] -= claimed_tokens - page.claimed_tokens[lane]
        page.lanes.free_slots[lane] -= <int32_t>(claimed_slots - page.claimed_slots[lane])
        page.claimed_tokens[lane] = claimed_tokens
        page.claimed_slots[lane] = <int32_t>claimed_slots
        _widen(&self.partitions[slot.partition], slot.place)
        return True

    def state(self, int64_t handle):
        """(latency_us, tpot_ns, free_tokens, free_slots, claimed_tokens, claimed_slots, blocks), or None."""
        cdef slot_t *slot = self._find(handle)
        if slot == NULL:
            return None
        cdef page_t *page = self._page(slot)
        cdef int lane = slot.place % 64
        return (page.lanes.latency[lane], page.lanes.tpot[lane], page.lanes.free_tokens[lane],
                page.lanes.free_slots[lane], page.claimed_tokens[lane], page.claimed_slots[lane],
                page.lanes.blocks[lane])

    # --- bids -------------------------------------------------------------------------------------------------------

    def match(self, Query query not None, bint claim=True):
        """Find, and claim, the feasible ask of the least score, then least cost, latency, time per token, then the oldest:
        (handle, cost_units, latency_us, tpot_ns), or None."""
        cdef best_t best
        cdef int64_t i
        self._check_partitions(query)
        best.page = NULL
        best.point.score = NO_SCORE
        for i in range(query.partition_count):
            _search(&self.partitions[query.partitions[i]], query, &best)
        if best.page == NULL:
            return None
        if claim:
            best.page.lanes.free_tokens[best.lane] -= query.scan.need
            best.page.lanes.free_slots[best.lane] -= 1
            best.page.claimed_tokens[best.lane] += query.scan.need
            best.page.claimed_slots[best.lane] += 1
            best.boxes.loose[best.box] = True
        return (self._handle(best.page, best.lane), best.point.cost, best.point.latency, best.point.tpot)

    def front(self, Query query not None, bint policy_order, int64_t limit):
        """The Pareto front of the feasible asks in cost, latency and time per token: how many they are, and the first
        `limit` as (handle, cost_units, latency_us, tpot_ns), in the order of the policy or else of cost."""
        cdef _Collector points = _Collector()
        cdef int64_t i, size
        self._check_partitions(query)
        for i in range(query.partition_count):
            self._collect(&self.partitions[query.partitions[i]], query, points)
        size = keep_front(points.items, points.count)
        if size < 0:
            raise MemoryError
        if policy_order:
            qsort(points.items, size, sizeof(point_t), by_score)
        return size, [
            (points.items[i].handle, points.items[i].cost, points.items[i].latency, points.items[i].tpot)
            for i in range(min(size, limit))
        ]

    def census(self, Query query not None, tuple partitions not None):
        """What keeps asks of `partitions` from the bid; those that the query does not name are of a wrong GPU type.

        (asks, feasible, only wanting capacity or kept by a block, then asks that fail each of: price, cost, latency,
        throughput, gpu_type, provider, capacity, reserve, and each of the eight blocks)."""
        cdef int64_t counts[19]
        cdef int64_t i
        cdef object number
        memset(counts, 0, sizeof(counts))
        for number in partitions:
            i = _within(number, 0, self.partition_count - 1, "partitions")
            _count(&self.partitions[i], query, not _listed(query.partitions, query.partition_count, i), counts)
        return tuple([counts[i] for i in range(19)])

    def totals(self, tuple partitions not None):
        """(asks that could be taken now, other asks, and of the former: free tokens, free slots, least sum of both
        prices)."""
        cdef int64_t place, i, live = 0, blocked = 0, least = NO_SCORE
        cdef object number, free_tokens = 0, free_slots = 0
        cdef const page_t *page
        cdef int lane
        for number in partitions:
            i = _within(number, 0, self.partition_count - 1, "partitions")
            for place in range(self.partitions[i].count):
                page, lane = self.partitions[i].pages[place // 64], place % 64
                if page.lanes.blocks[lane] or page.lanes.free_slots[lane] < 1 or page.lanes.free_tokens[lane] < 1:
                    blocked += 1
                    continue
                live += 1
                free_tokens += page.lanes.free_tokens[lane]
                free_slots += page.lanes.free_slots[lane]
                least = min(least, page.lanes.price[lane] + page.lanes.completion[lane])
        return live, blocked, free_tokens, free_slots, least

    # --- storage ----------------------------------------------------------------------------------------------------

    cdef inline slot_t *_find(self, int64_t handle) noexcept:
        cdef int64_t index = <uint32_t>handle
        if index >= self.slots_used or self.slots[index].generation != handle >> 32:
            return NULL
        return NULL if self.slots[index].partition < 0 else &self.slots[index]

    cdef inline page_t *_page(self, const slot_t *slot) noexcept:
        return self.partitions[slot.partition].pages[<size_t>slot.place // 64]

    @cython.overflowcheck(False)
    cdef inline void _fetch_ahead(self, const int64_t[::1] handles, int64_t i, int64_t n) noexcept:
        """In a large book nearly every step of an update misses the cache: start the coming ones early."""
        cdef slot_t *slot
        cdef page_t *page
        if i + 24 < n and <uint32_t>handles[i + 24] < self.slots_used:
            fetch(&self.slots[<uint32_t>handles[i + 24]])
        if i + 12 < n:
            slot = self._find(handles[i + 12])
            if slot != NULL:
                page = self._page(slot)
                fetch_lane(&page.lanes, slot.place % 64)
                fetch(&page.claimed_tokens[slot.place % 64])
                fetch(&page.claimed_slots[slot.place % 64])

    cdef inline int64_t _handle(self, const page_t *page, int lane) noexcept:
        return self.slots[page.slot[lane]].generation << 32 | page.slot[lane]

    cdef int _check_partitions(self, Query query) except -1:
        cdef int i
        for i in range(query.partition_count):
            _within(query.partitions[i], 0, self.partition_count - 1, "partitions")
        return 0

    cdef int _make_slot_room(self) except -1:
        cdef int64_t room
        if self.free_slot < 0 and self.slots_used == self.slot_room:
            room = _within(self.slot_room + self.slot_room // 4 + 64, 0, MAX_SLOTS, "asks")
            self.slots = <slot_t *>self._grown(self.slots, self.slot_room, room, sizeof(slot_t))
            self.slot_room = room
        return 0

    cdef int64_t _take_slot(self) noexcept:
        cdef int64_t index = self.free_slot
        if index >= 0:
            self.free_slot = self.slots[index].place
            return index
        index = self.slots_used
        self.slots[index].generation = 0
        self.slots_used += 1
        return index

    cdef int _free_slot(self, int64_t index) except -1:
        cdef slot_t *slot = &self.slots[index]
        self.live -= 1
        slot.partition = -1
        # A slot whose generations are used up is not used again, so that no old handle can come to name another ask.
        if slot.generation < MAX_GENERATION:
            slot.generation += 1
            slot.place = self.free_slot
            self.free_slot = <int32_t>index
        return 0

    cdef int _make_room(self, partition_t *part) except -1:
        """Have a page, and a box for it, for one more ask."""
        cdef int64_t pages = _pages(part.count), room
        if part.count % 64:
            return 0
        if pages == part.room:
            room = part.room + part.room // 4 + 4
            part.pages = <page_t **>self._grown(part.pages, part.room, room, sizeof(page_t *))
            part.boxes = <boxes_t **>self._grown(part.boxes, part.room, room, sizeof(boxes_t *))
            part.room = room
        if pages % 64 == 0:
            part.boxes[pages // 64] = <boxes_t *>self._allocated(sizeof(boxes_t))
        try:
            part.pages[pages] = self._take_page()
        except MemoryError:
            if pages % 64 == 0:
                self._released(part.boxes[pages // 64], sizeof(boxes_t))
            raise
        return 0

    cdef int _drop_room(self, partition_t *part) except -1:
        """Let go of the last page, and its boxes, once they are empty."""
        cdef int64_t pages = part.count // 64
        if part.count % 64:
            return 0
        part.pages[pages].next = self.spare
        self.spare = part.pages[pages]
        part.boxes[pages // 64].lanes.free_slots[pages % 64] = 0
        part.boxes[pages // 64].loose[pages % 64] = False
        if pages % 64 == 0:
            self._released(part.boxes[pages // 64], sizeof(boxes_t))
        return 0

    cdef page_t *_take_page(self) except NULL:
        cdef page_t *page = self.spare
        cdef int lane
        if page != NULL:
            self.spare = page.next
            return page
        page = <page_t *>self._allocated(sizeof(page_t))
        for lane in range(64):
            _empty_lane(page, lane)
        return page

    cdef void *_allocated(self, size_t size) except NULL:
        cdef void *block = aligned_alloc(64, size)
        if block == NULL:
            raise MemoryError
        memset(block, 0, size)
        self.bytes += size
        return block

    cdef void *_grown(self, void *block, int64_t count, int64_t more, size_t size) except NULL:
        cdef void *larger = realloc(block, more * size)
        if larger == NULL:
            raise MemoryError
        self.bytes += (more - count) * <int64_t>size
        return larger

    cdef void _released(self, void *block, int64_t size) noexcept:
        free(block)
        self.bytes -= size

    cdef int _collect(self, partition_t *part, Query query, _Collector points) except -1:
        """Feasible asks that no strong one dominates."""
        cdef int64_t scores[64]
        cdef int64_t k
        cdef int lane
        cdef page_t *page
        cdef point_t point
        _aim(query, part)
        for k in range(_pages(part.count)):
            page = part.pages[k]
            _corner(&part.boxes[k // 64].lanes, k % 64, query, &point)
            if sieve_covers(&points.sieve, &point) or _score(page, query, scores) == NO_SCORE:
                continue
            for lane in range(64):
                if scores[lane] != NO_SCORE:
                    _corner(&page.lanes, lane, query, &point)
                    if not sieve_covers(&points.sieve, &point):
                        point.score = scores[lane]
                        point.handle = self._handle(page, lane)
                        sieve_learn(&points.sieve, &point)
                        points.append(&point)
        return 0


include "_scan.pxi"
