/* Where an ask belongs: a key in Z-order over the logarithms of price, latency, time per token and free tokens.
 *
 * Asks of neighbouring keys are alike in all four, so that a page of them has a small box. Nothing but speed depends on
 * this: a match reads figures and boxes, never keys. */

#ifndef GOLLEM_KEY_H
#define GOLLEM_KEY_H

#include <string.h>

#include "_scan.h"

#define OCTAVE 1024           /* steps of a code for a factor of two */
#define SLACK 330             /* a quarter: how far an ask may leave the cell of its page before it is moved */
#define SLACK_TOKENS (OCTAVE * 2) /* four times: free tokens go up and down with every match */

/* About OCTAVE * log2(value), from the bits of a float: below 2^16. What is below 1 counts as 1. */
static inline int32_t
code_of(int64_t value)
{
    float inexact = (float)(value > 1 ? value : 1);
    int32_t bits;
    memcpy(&bits, &inexact, sizeof(bits));
    return (bits >> 13) - 127 * OCTAVE;
}

/* The 16 bits of a code, three apart. */
static inline int64_t
spread(int64_t x)
{
    x = (x | x << 24) & 0x000000FF000000FF;
    x = (x | x << 12) & 0x000F000F000F000F;
    x = (x | x << 6) & 0x0303030303030303;
    return (x | x << 3) & 0x1111111111111111;
}

/* Prices differ less than the rest and weigh as much, so they are told apart one step earlier; free tokens two later. */
static inline int64_t
key_for(int64_t price_sum, int64_t latency, int64_t tpot, int64_t free_tokens)
{
    return spread(code_of(free_tokens) >> 5) << 3 | spread(code_of(price_sum) << 1) << 2 | spread(code_of(latency)) << 1
         | spread(code_of(tpot));
}

static inline int64_t
key_of(const node_t *page, int i)
{
    return key_for((int64_t)page->price[i] + page->completion[i], page->latency[i], page->tpot[i], page->free_tokens[i]);
}

static inline __attribute__((always_inline)) void
codes_of(const node_t *page, int i, int32_t *codes)
{
    codes[0] = code_of((int64_t)page->price[i] + page->completion[i]);
    codes[1] = code_of(page->latency[i]);
    codes[2] = code_of(page->tpot[i]);
    codes[3] = code_of(page->free_tokens[i]);
}

static inline void
extend_cell(node_t *page, int i)
{
    int32_t codes[4];
    codes_of(page, i, codes);
    for (int d = 0; d < 4; d++) {
        if (codes[d] < page->cell_least[d])
            page->cell_least[d] = (uint16_t)codes[d];
        if (codes[d] > page->cell_most[d])
            page->cell_most[d] = (uint16_t)codes[d];
    }
}

static inline void
clear_cell(node_t *page)
{
    memset(page->cell_least, 0xFF, sizeof(page->cell_least));
    memset(page->cell_most, 0, sizeof(page->cell_most));
}

/* Marks the asks that have left the cell of their page; how many. */
VECTORISED static int
find_strays(const node_t *restrict page, int32_t *restrict stray)
{
    int32_t least[4], most[4], found = 0;
    for (int d = 0; d < 4; d++) {
        int32_t slack = d == 3 ? SLACK_TOKENS : SLACK;
        least[d] = page->cell_least[d] - slack;
        most[d] = page->cell_most[d] + slack;
    }
    for (int i = 0; i < LANES; i++) {
        int32_t codes[4];
        codes_of(page, i, codes);
        int32_t out = (codes[0] - least[0]) | (most[0] - codes[0]) | (codes[1] - least[1]) | (most[1] - codes[1])
                    | (codes[2] - least[2]) | (most[2] - codes[2]) | (codes[3] - least[3]) | (most[3] - codes[3]);
        stray[i] = (i < page->count) & (out < 0);
        found += stray[i];
    }
    return found;
}

#endif
