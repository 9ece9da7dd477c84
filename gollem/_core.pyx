# cython: cdivision=True
# (no operand of a division is negative)
"""The order book's compiled heart: asks in trees of pages, matches by vectorised scans. Knows numbers only.

Asks lie in partitions (one model on one GPU type), each a tree of nodes of 64 lanes (_tree.h), in which like lies beside
like. A node carries the boxes of what lies below it, so that one scan tells which of 64 subtrees can win. A box covers
its asks at all times; it is tightened when its node is scanned.

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
    """All asks. Every method that takes a figure raises OutOfRange and then changes nothing.

    `lanes` is how many asks a page, or pages a node, may hold at most: fewer than 64 only to test large trees with few
    asks."""

    cdef store_t store
    cdef int64_t slot_room, slots_used, live
    cdef int32_t free_slot
    cdef partition_t *partitions
    cdef int32_t partition_count
    cdef int64_t next_age
    cdef int64_t scanned

    def __cinit__(self, int64_t lanes=64):
        self.free_slot = -1
        self.store.limit = <int>_within(lanes, 4, LANES, "lanes")

    def __dealloc__(self):
        cdef int64_t i
        for i in range(self.partition_count):
            free_tree(<node_t *>self.partitions[i].root)
        free_spare(&self.store)
        free(self.partitions)
        free(self.store.slots)

    def __len__(self):
        return self.live

    def memory_bytes(self):
        """Bytes allocated, spare pages included."""
        return self.store.bytes

    def nodes_scanned(self):
        """How many nodes all matches so far have looked at: what a match costs, without a clock."""
        return self.scanned

    def check(self):
        """Raise AssertionError if any tree breaks a rule of its own. For tests: it reads everything."""
        cdef int64_t i
        cdef const char *broken
        for i in range(self.partition_count):
            if self.partitions[i].root != NULL:
                broken = check_node(&self.store, &self.partitions[i].root.node)
                if broken != NULL:
                    raise AssertionError((<bytes>broken).decode())

    # --- asks -------------------------------------------------------------------------------------------------------

    def partition(self, int64_t gpu_centi):
        """A new, empty partition; its number. `gpu_centi` is the multiplier of its GPU type in hundredths."""
        cdef partition_t *fresh
        _within(gpu_centi, 1, MAX_GPU_CENTI, "gpu_centi")
        _within(self.partition_count + 1, 1, MAX_PARTITIONS, "partitions")
        self.partitions = <partition_t *>self._grown(
            self.partitions, self.partition_count, self.partition_count + 1, sizeof(partition_t))
        fresh = &self.partitions[self.partition_count]
        fresh.root = NULL
        fresh.gpu_centi = <int32_t>gpu_centi
        self.partition_count += 1
        return self.partition_count - 1

    def add(
        self, int64_t partition, int64_t provider, int64_t price_ticks, int64_t completion_price_ticks,
        int64_t reserve_units, int64_t latency_us, int64_t tpot_ns, int64_t capacity_tokens, int64_t capacity_slots,
    ):
        """A new ask, younger than all others; its handle. `reserve_units` is the least cost units a token."""
        cdef page_t *page
        cdef slot_t *slot
        cdef int64_t index
        cdef int lane
        _within(partition, 0, self.partition_count - 1, "partition")
        _within(provider, 0, MAX_SLOTS, "provider")
        _check_terms(price_ticks, completion_price_ticks, reserve_units)
        _check_state(latency_us, tpot_ns, capacity_tokens, capacity_slots)
        self._make_slot_room()
        page = self._make_room(&self.partitions[partition], key_for(
            price_ticks + completion_price_ticks, latency_us, tpot_ns, capacity_tokens))
        lane = page.node.count
        index = self._take_slot()
        slot = &self.store.slots[index]
        slot.page, slot.lane = page, lane
        page.slot[lane] = <int32_t>index
        page.provider[lane] = <int32_t>provider
        slot.claimed_tokens = slot.claimed_slots = slot.blocks = 0
        page.node.age[lane] = self.next_age
        self.next_age += 1
        self.live += 1
        page.node.count += 1
        _set_terms(&page.node, lane, price_ticks, completion_price_ticks, reserve_units)
        report(slot, latency_us, tpot_ns, capacity_tokens, capacity_slots)
        extend_cell(&page.node, lane)
        return <int64_t>slot.generation << 32 | index

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
        _set_terms(&slot.page.node, slot.lane, price_ticks, completion_price_ticks, reserve_units)
        report(slot, latency_us, tpot_ns, capacity_tokens, capacity_slots)
        cover(&slot.page.node, slot.lane)
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
                report(slot, latency_us[i], tpot_ns[i], capacity_tokens[i], capacity_slots[i])
                applied += 1
        return applied

    def remove(self, int64_t handle):
        """Take an ask out. False if the handle names nothing."""
        cdef slot_t *slot = self._find(handle)
        if slot == NULL:
            return False
        remove_ask(&self.store, slot.page, slot.lane)
        self._free_slot(<uint32_t>handle)
        return True

    def set_blocks(self, int64_t handle, int32_t blocks):
        """Eight bits, any of which keeps the ask from being matched. False if the handle names nothing."""
        cdef slot_t *slot = self._find(handle)
        _within(blocks, 0, ALL_BLOCKS, "blocks")
        if slot == NULL:
            return False
        slot.page.node.free_slots[slot.lane] = <int32_t>(_free_slots(slot) - (BLOCKED if blocks else 0))
        slot.blocks = blocks
        cover(&slot.page.node, slot.lane)
        return True

    def claim(self, int64_t handle, int64_t tokens, int64_t slots=1):
        """Take capacity, even below zero. Negative numbers give back, to no less than nothing claimed.
        False if the handle names nothing."""
        cdef slot_t *slot = self._find(handle)
        cdef int64_t claimed_tokens, claimed_slots
        _within(tokens, -_MAX_CLAIMED_TOKENS, _MAX_CLAIMED_TOKENS, "tokens")
        _within(slots, -_MAX_CLAIMED_SLOTS, _MAX_CLAIMED_SLOTS, "slots")
        if slot == NULL:
            return False
        claimed_tokens = _within(
            max(slot.claimed_tokens + tokens, 0), 0, _MAX_CLAIMED_TOKENS, "claimed tokens")
        claimed_slots = _within(max(slot.claimed_slots + slots, 0), 0, _MAX_CLAIMED_SLOTS, "claimed slots")
        slot.page.node.free_tokens[slot.lane] -= claimed_tokens - slot.claimed_tokens
        slot.page.node.free_slots[slot.lane] -= <int32_t>(claimed_slots - slot.claimed_slots)
        slot.claimed_tokens = claimed_tokens
        slot.claimed_slots = <int32_t>claimed_slots
        cover(&slot.page.node, slot.lane)
        return True

    def state(self, int64_t handle):
        """(latency_us, tpot_ns, free_tokens, free_slots, claimed_tokens, claimed_slots, blocks), or None."""
        cdef slot_t *slot = self._find(handle)
        if slot == NULL:
            return None
        cdef page_t *page = slot.page
        cdef int lane = slot.lane
        return (page.node.latency[lane], page.node.tpot[lane], page.node.free_tokens[lane],
                _free_slots(slot), slot.claimed_tokens, slot.claimed_slots, slot.blocks)

    # --- bids -------------------------------------------------------------------------------------------------------

    def match(self, Query query not None, bint claim=True):
        """Find, and claim, the feasible ask of the least score, then least cost, latency, time per token, then the oldest:
        (handle, cost_units, latency_us, tpot_ns), or None."""
        cdef search_t search
        cdef object found = None
        self._check_partitions(query)
        search.page = NULL
        search.best.score = NO_SCORE
        search.scanned = search.untidy_count = 0
        self._search_all(query, &search)
        self.scanned += search.scanned
        if search.page != NULL:
            if claim:
                _take(&self.store.slots[search.page.slot[search.lane]], query.scan.need)
            found = (self._handle(search.page, search.lane), search.best.cost, search.best.latency, search.best.tpot)
        self._tidy(&search)
        return found

    def match_by_scan(self, Query query not None):
        """What `match` would find, without a claim, by looking at every page: for tests and as a measure."""
        cdef search_t search
        cdef int i
        self._check_partitions(query)
        search.page = NULL
        search.best.score = NO_SCORE
        for i in range(query.partition_count):
            _aim(query, &self.partitions[query.partitions[i]])
            _scan_all(<node_t *>self.partitions[query.partitions[i]].root, query, &search)
        if search.page == NULL:
            return None
        return (self._handle(search.page, search.lane), search.best.cost, search.best.latency, search.best.tpot)

    def front(self, Query query not None, bint policy_order, int64_t limit):
        """The Pareto front of the feasible asks in cost, latency and time per token: how many they are, and the first
        `limit` as (handle, cost_units, latency_us, tpot_ns), in the order of the policy or else of cost."""
        cdef _Collector points = _Collector()
        cdef int64_t i, size
        self._check_partitions(query)
        for i in range(query.partition_count):
            if self.partitions[query.partitions[i]].root != NULL:
                _aim(query, &self.partitions[query.partitions[i]])
                self._collect(&self.partitions[query.partitions[i]].root.node, query, points)
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
            _aim(query, &self.partitions[i])
            _count(self.store.slots, <node_t *>self.partitions[i].root, query,
                   not _listed(query.partitions, query.partition_count, i), counts)
        return tuple([counts[i] for i in range(19)])

    def totals(self, tuple partitions not None):
        """(asks that could be taken now, other asks, and of the former: free tokens, free slots, least sum of both
        prices)."""
        cdef totals_t totals
        cdef int64_t i
        cdef object number, free_tokens
        memset(&totals, 0, sizeof(totals))
        totals.least_sum = NO_SCORE
        for number in partitions:
            i = _within(number, 0, self.partition_count - 1, "partitions")
            _total(<node_t *>self.partitions[i].root, &totals)
        free_tokens = (<object>totals.free_tokens_high << 32) + totals.free_tokens_low
        return totals.available, totals.others, free_tokens, totals.free_slots, totals.least_sum

    # --- storage ----------------------------------------------------------------------------------------------------

    cdef inline slot_t *_find(self, int64_t handle) noexcept:
        cdef int64_t index = <uint32_t>handle
        if index >= self.slots_used or self.store.slots[index].generation != handle >> 32:
            return NULL
        return NULL if self.store.slots[index].page == NULL else &self.store.slots[index]

    @cython.overflowcheck(False)
    cdef inline void _fetch_ahead(self, const int64_t[::1] handles, int64_t i, int64_t n) noexcept:
        """In a large book nearly every step of an update misses the cache: start the coming ones early."""
        cdef slot_t *slot
        if i + 30 < n and <uint32_t>handles[i + 30] < self.slots_used:
            fetch(&self.store.slots[<uint32_t>handles[i + 30]])
        if i + 20 < n:
            slot = self._find(handles[i + 20])
            if slot != NULL:
                fetch(&slot.page.node.parent)
                fetch_lane(&slot.page.node, slot.lane)
        if i + 8 < n:
            slot = self._find(handles[i + 8])
            if slot != NULL:
                fetch_box(<node_t *>slot.page.node.parent, slot.page.node.at)

    cdef inline int64_t _handle(self, const page_t *page, int lane) noexcept:
        return <int64_t>self.store.slots[page.slot[lane]].generation << 32 | page.slot[lane]

    cdef int _check_partitions(self, Query query) except -1:
        cdef int i
        for i in range(query.partition_count):
            _within(query.partitions[i], 0, self.partition_count - 1, "partitions")
        return 0

    cdef int _make_slot_room(self) except -1:
        cdef int64_t room
        if self.free_slot < 0 and self.slots_used == self.slot_room:
            room = _within(self.slot_room + self.slot_room // 4 + 64, 0, MAX_SLOTS, "asks")
            self.store.slots = <slot_t *>self._grown(self.store.slots, self.slot_room, room, sizeof(slot_t))
            self.slot_room = room
        return 0

    cdef int64_t _take_slot(self) noexcept:
        cdef int64_t index = self.free_slot
        if index >= 0:
            self.free_slot = self.store.slots[index].lane
            return index
        index = self.slots_used
        self.store.slots[index].generation = 0
        self.slots_used += 1
        return index

    cdef int _free_slot(self, int64_t index) except -1:
        cdef slot_t *slot = &self.store.slots[index]
        self.live -= 1
        slot.page = NULL
        # A slot whose generations are used up is not used again, so that no old handle can come to name another ask.
        if slot.generation < MAX_GENERATION:
            slot.generation += 1
            slot.lane = self.free_slot
            self.free_slot = <int32_t>index
        return 0

    cdef page_t *_make_room(self, partition_t *part, int64_t key) except NULL:
        """The page for a new ask of this key."""
        cdef page_t *page
        if part.root == NULL:
            part.root = new_root(&self.store)
        page = NULL if part.root == NULL else roomy_page_for(&self.store, part.root, key)
        if page == NULL:
            raise MemoryError
        return page

    cdef void *_grown(self, void *block, int64_t count, int64_t more, size_t size) except NULL:
        cdef void *larger = realloc(block, more * size)
        if larger == NULL:
            raise MemoryError
        self.store.bytes += (more - count) * <int64_t>size
        return larger

    # --- searching --------------------------------------------------------------------------------------------------

    cdef void _search_all(self, Query query, search_t *search) noexcept:
        """Search the query's partitions, the most promising first."""
        cdef int64_t bounds[64]
        cdef int64_t scores[64][64]
        cdef int64_t least
        cdef int i, at, count = query.partition_count
        cdef partition_t *part
        for i in range(64):
            bounds[i] = NO_SCORE
        for i in range(count):
            part = &self.partitions[query.partitions[i]]
            if part.root != NULL:
                _aim(query, part)
                bounds[i] = score_page(&part.root.node, &query.scan, scores[i])
                search.scanned += 1
        for i in range(count):
            least = least_of(bounds)
            if least == NO_SCORE or least > search.best.score:
                return
            at = lane_of(bounds, least)
            bounds[at] = NO_SCORE
            part = &self.partitions[query.partitions[at]]
            _aim(query, part)
            _search(&part.root.node, query, least, scores[at], search)

    cdef void _tidy(self, search_t *search) noexcept:
        """Where asks of the pages that were scanned belong elsewhere by now, move them."""
        cdef int i
        for i in range(search.untidy_count):
            tidy_page(&self.store, search.untidy[i])

    cdef int _collect(self, node_t *node, Query query, _Collector points) except -1:
        """Feasible asks that no strong one dominates."""
        cdef int64_t scores[64]
        cdef int lane
        cdef point_t point
        if _score(node, query, scores) == NO_SCORE:
            return 0
        for lane in range(node.count):
            if scores[lane] == NO_SCORE:
                continue
            _corner(node, lane, query, &point)
            if sieve_covers(&points.sieve, &point):
                continue
            if node.height:
                self._collect((<inner_t *>node).child[lane], query, points)
                continue
            point.score = scores[lane]
            point.handle = self._handle(<page_t *>node, lane)
            sieve_learn(&points.sieve, &point)
            points.append(&point)
        return 0


include "_scan.pxi"
