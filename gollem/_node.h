/* The nodes of a partition's tree (_tree.h): memory, boxes, and how lanes are copied and moved.
 *
 * Pages hold asks; inner nodes hold the boxes of other nodes. The lanes of a node are in no order. Nodes are never given
 * back to the system before the book is. */

#ifndef GOLLEM_NODE_H
#define GOLLEM_NODE_H

#include <stdlib.h>

#include "_key.h"

typedef struct {
    node_t node;
    int32_t provider[LANES];
    int32_t slot[LANES];
} page_t;

typedef struct inner {
    node_t node;
    int64_t first[LANES];
    node_t *child[LANES];
} inner_t;

/* Where a handle leads, and what a scan need not know. Without a page it is free, and `lane` is the next free one. */
typedef struct {
    page_t *page;
    int64_t claimed_tokens;
    int32_t claimed_slots;
    int32_t generation;
    int32_t lane;
    int32_t blocks; /* bits, 0: none */
} slot_t;

typedef struct {
    slot_t *slots;
    node_t *spare_pages, *spare_inners; /* linked by `parent` */
    int64_t bytes;
    int limit; /* lanes of a node that are used: LANES, fewer in tests */
} store_t;

/* --- nodes ------------------------------------------------------------------------------------------------------- */

static void empty_lane(node_t *node, int i)
{
    node->free_slots[i] = 0;
    node->reserve[i] = 0;
}

static node_t *take_node(store_t *store, int height)
{
    node_t **spare = height ? &store->spare_inners : &store->spare_pages, *node = *spare;
    size_t size = height ? sizeof(inner_t) : sizeof(page_t);
    if (node != NULL) {
        *spare = (node_t *)node->parent;
    } else {
        node = aligned_alloc(64, (size + 63) / 64 * 64);
        if (node == NULL)
            return NULL;
        memset(node, 0, size);
        store->bytes += (int64_t)size;
        for (int i = 0; i < LANES; i++)
            empty_lane(node, i);
    }
    node->parent = NULL;
    node->count = 0;
    node->reserved = 0;
    node->loose = 0;
    node->height = height;
    clear_cell(node);
    return node;
}

static void spare_node(store_t *store, node_t *node)
{
    node_t **spare = node->height ? &store->spare_inners : &store->spare_pages;
    node->parent = (inner_t *)*spare;
    *spare = node;
}

static void free_tree(node_t *node)
{
    if (node != NULL && node->height)
        for (int i = 0; i < node->count; i++)
            free_tree(((inner_t *)node)->child[i]);
    free(node);
}

static void free_spare(store_t *store)
{
    for (int pages = 0; pages < 2; pages++)
        for (node_t *next, *node = pages ? store->spare_pages : store->spare_inners; node != NULL; node = next) {
            next = (node_t *)node->parent;
            free(node);
        }
}

/* --- boxes ------------------------------------------------------------------------------------------------------- */

static inline void
loosen(inner_t *inner, int at)
{
    inner->node.loose |= 1ull << at;
}

/* Have all boxes above cover a lane that is new or has changed. */
static inline void
cover(node_t *node, int lane)
{
    for (inner_t *up = node->parent; up != NULL; up = node->parent) {
        loosen(up, node->at);
        if (!widen_box(node, lane, &up->node, node->at))
            return;
        lane = node->at;
        node = &up->node;
    }
}

/* Reckon a node's box anew. The one above it may then be too wide. */
static inline void
tighten(node_t *node)
{
    inner_t *up = node->parent;
    if (up == NULL)
        return;
    tighten_box(node, &up->node, node->at);
    up->node.loose &= ~(1ull << node->at);
    if (up->node.parent != NULL)
        loosen(up->node.parent, up->node.at);
}

/* New figures of an ask whose capacity is `tokens` and `slots` in all. */
static inline void
report(const slot_t *slot, int64_t latency, int64_t tpot, int64_t tokens, int64_t slots)
{
    page_t *page = slot->page;
    inner_t *up = page->node.parent;
    int lane = slot->lane, at = page->node.at;
    loosen(up, at);
    if (report_lane(&page->node, lane, &up->node, at, latency, tpot,
                    tokens - slot->claimed_tokens, slots - slot->claimed_slots - (slot->blocks ? BLOCKED : 0)))
        cover(&up->node, at);
}

/* --- lanes ------------------------------------------------------------------------------------------------------- */

static void copy_figures(node_t *into, int to, const node_t *node, int i)
{
    into->price[to] = node->price[i];
    into->completion[to] = node->completion[i];
    into->latency[to] = node->latency[i];
    into->free_slots[to] = node->free_slots[i];
    into->tpot[to] = node->tpot[i];
    into->free_tokens[to] = node->free_tokens[i];
    into->reserve[to] = node->reserve[i];
    into->age[to] = node->age[i];
    into->reserved |= node->reserve[i] != 0;
}

static void copy_child(inner_t *into, int to, const inner_t *inner, int i)
{
    into->first[to] = inner->first[i];
    loosen(into, to);
    into->child[to] = inner->child[i];
    into->child[to]->parent = into;
    into->child[to]->at = to;
}

static void copy_ask(const store_t *store, page_t *into, int to, const page_t *page, int i)
{
    into->provider[to] = page->provider[i];
    into->slot[to] = page->slot[i];
    store->slots[into->slot[to]].page = into;
    store->slots[into->slot[to]].lane = to;
}

static void copy_lane(const store_t *store, node_t *into, int to, const node_t *node, int i)
{
    copy_figures(into, to, node, i);
    if (node->height)
        copy_child((inner_t *)into, to, (const inner_t *)node, i);
    else
        copy_ask(store, (page_t *)into, to, (const page_t *)node, i);
}

/* The last lane takes the place of one that has gone. */
static void drop_lane(const store_t *store, node_t *node, int i)
{
    int last = --node->count;
    if (i != last)
        copy_lane(store, node, i, node, last);
    empty_lane(node, last);
    if (node->height)
        ((inner_t *)node)->first[last] = INT64_MAX;
}

static void move_lane(const store_t *store, node_t *into, node_t *node, int i)
{
    copy_lane(store, into, into->count++, node, i);
    if (!into->height)
        extend_cell(into, into->count - 1);
    drop_lane(store, node, i);
}

#endif
