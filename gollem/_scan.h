/* The scan loops of the order book: 64 asks, or 64 boxes of pages, at a time, written so that the compiler vectorises.
 *
 * C wraps silently, so every operand is bounded where it enters _core.pyx:
 *   blend = price * prompt + completion * max_tokens   < 2^28 * 2^24     = 2^51 (prices <= 10^8)
 *   cost  = blend * gpu_centi                          <= 10^8 * 2^24 * 1000 < 2^61
 *   reserve * tokens                                   < 2^37 * 2^24     = 2^61
 *   score = three terms of at most 2^61 each           < 2^63
 * and limits are at most 2^62, so no difference of two of these leaves 64 bits.
 *
 * A condition is a number that is negative where it fails; the sign of their bitwise or tells whether any does. */

#ifndef GOLLEM_SCAN_H
#define GOLLEM_SCAN_H

#include <stdint.h>

#define LANES 64
#define NO_SCORE INT64_MAX
#define BLOCKED (1 << 30) /* more slots than any ask can have free */

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define VECTORISED __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define VECTORISED
#endif

struct inner;

/* What a match looks at, of 64 asks or of 64 boxes, and the node's place in its tree (_tree.h).
 * Of a box: the least of each figure, the most of what is free. */
typedef struct {
    int32_t price[LANES];      /* ticks */
    int32_t completion[LANES]; /* ticks */
    uint32_t latency[LANES];   /* us */
    int32_t free_slots[LANES]; /* less BLOCKED while an ask is blocked; none in an empty lane */
    int32_t reserved;          /* of an ask page: whether any reserve is set */
    int32_t at;                /* which child of its parent */
    int32_t count;             /* lanes in use, the first ones */
    int32_t height;            /* 0: a page of asks */
    struct inner *parent;
    uint64_t loose;            /* of an inner node, a bit a lane: the box may be wider than it has to be */
    uint16_t cell_least[4];    /* of a page: the codes (_key.h) of the asks that were moved here */
    uint16_t cell_most[4];
    int64_t tpot[LANES] __attribute__((aligned(64))); /* ns */
    int64_t free_tokens[LANES];
    int64_t reserve[LANES];    /* least accepted, cost units a token */
    int64_t age[LANES];        /* lower is older */
} node_t;

/* One dimension of the score: min(x >> shift, cap) * factor. */
typedef struct {
    int64_t cap;
    int64_t factor;
    int64_t shift;
} scale_t;

typedef struct {
    int32_t prompt;
    int32_t completion;
    int32_t gpu_centi;         /* of the partition that is scanned */
    int64_t tokens;            /* prompt and completion */
    int64_t need;              /* tokens that must be free */
    int64_t blend_max;         /* of the partition that is scanned: price and cost limit in one */
    int64_t latency_max;
    int64_t tpot_max;
    scale_t cost_scale;
    scale_t latency_scale;
    scale_t tpot_scale;
} scan_t;

static inline int64_t scaled(int64_t value, scale_t scale)
{
    int64_t steps = value >> scale.shift;
    return (steps < scale.cap ? steps : scale.cap) * scale.factor;
}

static inline __attribute__((always_inline)) int64_t
score_lanes(const node_t *restrict lane, const scan_t *restrict bid, int64_t *restrict scores, int with_reserve)
{
    const scan_t q = *bid;
    int64_t least = NO_SCORE;
    for (int i = 0; i < LANES; i++) {
        int64_t blend = (int64_t)lane->price[i] * q.prompt + (int64_t)lane->completion[i] * q.completion;
        int64_t cost = blend * q.gpu_centi;
        int64_t latency = lane->latency[i];
        int64_t tpot = lane->tpot[i];
        int64_t wants = (q.blend_max - blend) | (q.latency_max - latency) | (q.tpot_max - tpot)
                      | (lane->free_tokens[i] - q.need)
                      | (int64_t)(lane->free_slots[i] - 1);
        if (with_reserve)
            wants |= cost - lane->reserve[i] * q.tokens;
        int64_t score = scaled(cost, q.cost_scale) + scaled(latency, q.latency_scale) + scaled(tpot, q.tpot_scale);
        score |= (wants >> 63) & NO_SCORE;
        scores[i] = score;
        least = score < least ? score : least;
    }
    return least;
}

/* Fills `scores` with each lane's score, NO_SCORE where the bid's conditions fail, and returns the least. */
VECTORISED static int64_t
score_page(const node_t *restrict lane, const scan_t *restrict bid, int64_t *restrict scores)
{
    return lane->reserved ? score_lanes(lane, bid, scores, 1) : score_lanes(lane, bid, scores, 0);
}

/* Rules out lanes by provider: those listed, or with `only` those not listed. Returns the least score left. */
VECTORISED static int64_t
filter_providers(const int32_t *restrict provider, const int32_t *restrict listed, int count, int only,
                 int64_t *restrict scores)
{
    int32_t found[LANES] = {0};
    int32_t flip = only ? -1 : 0;
    int64_t least = NO_SCORE;
    for (int k = 0; k < count; k++) {
        int32_t one = listed[k];
        for (int i = 0; i < LANES; i++)
            found[i] |= -(int32_t)(provider[i] == one);
    }
    for (int i = 0; i < LANES; i++) {
        scores[i] |= (int64_t)(found[i] ^ flip) & NO_SCORE;
        least = scores[i] < least ? scores[i] : least;
    }
    return least;
}

/* The lane of the least score, given what that is. */
VECTORISED static int
lane_of(const int64_t *scores, int64_t least)
{
    int64_t lane = LANES;
    for (int64_t i = 0; i < LANES; i++) {
        int64_t found = scores[i] == least ? i : LANES;
        lane = found < lane ? found : lane;
    }
    return (int)lane;
}

VECTORISED static int64_t
least_of(const int64_t *scores)
{
    int64_t least = NO_SCORE;
    for (int i = 0; i < LANES; i++)
        least = scores[i] < least ? scores[i] : least;
    return least;
}

/* Whether some bid could take it. */
static inline int
available(const node_t *lane, int i)
{
    return lane->free_slots[i] > 0 && lane->free_tokens[i] > 0;
}

/* The box of a node: only what a bid could take counts. Without any it has no free slot. */
VECTORISED static void
tighten_box(node_t *restrict lane, node_t *restrict box, int at)
{
    int32_t price = INT32_MAX, completion = INT32_MAX, free_slots = 0, outs[LANES];
    uint32_t latency = UINT32_MAX;
    int64_t tpot = INT64_MAX, free_tokens = 0, age = INT64_MAX, reserve = 0;
    for (int i = 0; i < LANES; i++) {
        int64_t out = (int64_t)(lane->free_slots[i] - 1) | (lane->free_tokens[i] - 1);
        out >>= 63; /* all ones: cannot be taken */
        int64_t e = lane->tpot[i] | (out & INT64_MAX), f = lane->free_tokens[i] & ~out;
        int64_t g = lane->age[i] | (out & INT64_MAX);
        tpot = e < tpot ? e : tpot;
        free_tokens = f > free_tokens ? f : free_tokens;
        age = g < age ? g : age;
        reserve |= lane->reserve[i];
        outs[i] = (int32_t)out;
    }
    for (int i = 0; i < LANES; i++) {
        int32_t a = lane->price[i] | (outs[i] & INT32_MAX), b = lane->completion[i] | (outs[i] & INT32_MAX);
        uint32_t c = lane->latency[i] | (uint32_t)outs[i];
        int32_t d = lane->free_slots[i] & ~outs[i];
        price = a < price ? a : price;
        completion = b < completion ? b : completion;
        latency = c < latency ? c : latency;
        free_slots = d > free_slots ? d : free_slots;
    }
    lane->reserved = reserve != 0;
    if (free_slots == 0) { /* keep every figure within the bounds above */
        price = completion = 0;
        latency = 0;
        tpot = 0;
    }
    box->price[at] = price;
    box->completion[at] = completion;
    box->latency[at] = latency;
    box->free_slots[at] = free_slots;
    box->tpot[at] = tpot;
    box->free_tokens[at] = free_tokens;
    box->age[at] = age;
}

#define LOWER(field) if (lane->field[i] < box->field[at]) box->field[at] = lane->field[i], wider = 1
#define RAISE(field) if (lane->field[i] > box->field[at]) box->field[at] = lane->field[i], wider = 1

/* Makes a box cover lane i, at once; what it covers too much is for tighten_box. Whether it had to be widened. */
static inline int
widen_box(const node_t *lane, int i, node_t *box, int at)
{
    int wider = 0;
    if (!available(lane, i))
        return 0;
    if (box->free_slots[at] == 0) { /* it covers nothing yet */
        box->price[at] = lane->price[i];
        box->completion[at] = lane->completion[i];
        box->latency[at] = lane->latency[i];
        box->tpot[at] = lane->tpot[i];
        box->age[at] = lane->age[i];
        box->free_tokens[at] = lane->free_tokens[i];
    }
    LOWER(price);
    LOWER(completion);
    LOWER(latency);
    LOWER(tpot);
    LOWER(age);
    RAISE(free_slots);
    RAISE(free_tokens);
    return wider;
}

/* New figures of lane i, and a box that covers them; whether that had to be widened. What does not change is not even
 * read: it may be far away. */
static inline int
report_lane(node_t *lane, int i, node_t *box, int at,
            int64_t latency, int64_t tpot, int64_t free_tokens, int64_t free_slots)
{
    int covered = available(lane, i), wider = 0;
    lane->latency[i] = (uint32_t)latency;
    lane->tpot[i] = tpot;
    lane->free_tokens[i] = free_tokens;
    lane->free_slots[i] = (int32_t)free_slots;
    if (!covered)
        return widen_box(lane, i, box, at);
    LOWER(latency);
    LOWER(tpot);
    RAISE(free_slots);
    RAISE(free_tokens);
    return wider;
}

/* Have what report_lane needs on its way. */
static inline void
fetch_lane(const node_t *lane, int i)
{
    __builtin_prefetch(&lane->latency[i], 1);
    __builtin_prefetch(&lane->free_slots[i], 1);
    __builtin_prefetch(&lane->tpot[i], 1);
    __builtin_prefetch(&lane->free_tokens[i], 1);
}

static inline void
fetch_box(const node_t *box, int at)
{
    fetch_lane(box, at);
    __builtin_prefetch(&box->parent);
}

static inline void
fetch(const void *what)
{
    __builtin_prefetch(what);
}

/* Whether each of n values is within the bounds. */
VECTORISED static int
all_within(const int64_t *values, int64_t n, int64_t least, int64_t most)
{
    int outside = 0;
    for (int64_t i = 0; i < n; i++)
        outside |= (values[i] < least) | (values[i] > most);
    return !outside;
}

#endif
