/* The asks of one partition: a B+-tree in the order of _key.h. Its leaves are pages of asks, and each entry of an inner
 * node carries the box of what lies below it.
 *
 * The entries of a node are in no order: a node is scanned as a whole anyway, and so nothing has to be shifted. Child k of
 * an inner node takes the keys from first[k] up to the next greater one. An ask may lie in a page to which its key would
 * not lead: figures change in place, and an ask is moved when its page is next scanned (tidy_page). The root of a
 * partition stays the same node for good.
 *
 * Functions that allocate return 0, or -1 without memory; the tree is then valid and as full as before. */

#ifndef GOLLEM_TREE_H
#define GOLLEM_TREE_H

#include "_node.h"

/* --- the order of keys ------------------------------------------------------------------------------------------- */

/* The child to which a key leads: that of the greatest first key not above it, or else of the least first key. */
VECTORISED static int
child_for(const inner_t *inner, int64_t key)
{
    int64_t below = -1, least = INT64_MAX;
    int at = 0;
    for (int i = 0; i < LANES; i++) {
        int64_t first = inner->first[i], reached = first <= key ? first : -1;
        below = reached > below ? reached : below;
        least = first < least ? first : least;
    }
    below = below < 0 ? least : below;
    while (at < inner->node.count - 1 && inner->first[at] != below)
        at++;
    return at;
}

static page_t *page_for(inner_t *root, int64_t key)
{
    node_t *node = &root->node;
    while (node->height)
        node = ((inner_t *)node)->child[child_for((inner_t *)node, key)];
    return (page_t *)node;
}

/* Entries of equal keys follow each other in the order in which they lie. */
static inline int precedes(const inner_t *inner, int a, int b)
{
    return inner->first[a] < inner->first[b] || (inner->first[a] == inner->first[b] && a < b);
}

/* The nearest entry after this one, or before it; -1 if there is none. */
static int neighbour(const inner_t *inner, int at, int after)
{
    int found = -1;
    for (int k = 0; k < inner->node.count; k++) {
        int beyond = after ? precedes(inner, at, k) : precedes(inner, k, at);
        if (beyond && (found < 0 || (after ? precedes(inner, k, found) : precedes(inner, found, k))))
            found = k;
    }
    return found;
}

/* The least key above this node's own. */
static int64_t upper_bound(const node_t *node)
{
    for (const inner_t *up = node->parent; up != NULL; node = &up->node, up = node->parent) {
        int next = neighbour(up, node->at, 1);
        if (next >= 0)
            return up->first[next];
    }
    return INT64_MAX;
}

/* --- splitting --------------------------------------------------------------------------------------------------- */

typedef struct {
    int64_t key;
    int lane;
} entry_t;

static int by_key(const void *left, const void *right)
{
    const entry_t *a = left, *b = right;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return a->lane - b->lane;
}

static int by_lane_backwards(const void *left, const void *right)
{
    return ((const entry_t *)right)->lane - ((const entry_t *)left)->lane;
}

/* The lanes of a node by key. A stray counts among the first or the last of the keys that belong here. */
static void sort_lanes(const node_t *node, int64_t beyond, entry_t *entries)
{
    int64_t least = node->parent->first[node->at];
    for (int i = 0; i < node->count; i++) {
        int64_t key = node->height ? ((const inner_t *)node)->first[i] : key_of(node, i);
        key = key < beyond ? key : beyond - 1;
        entries[i].key = key > least ? key : least;
        entries[i].lane = i;
    }
    qsort(entries, (size_t)node->count, sizeof(entry_t), by_key);
}

static void renew_cell(node_t *page)
{
    clear_cell(page);
    for (int i = 0; i < page->count; i++)
        extend_cell(page, i);
}

/* Level a full node with the next in order, which takes its greatest keys. */
static void spill(const store_t *store, node_t *node, node_t *next)
{
    entry_t entries[LANES];
    int keep = (node->count + next->count) / 2, spilt = node->count - keep;
    sort_lanes(node, node->parent->first[next->at], entries);
    node->parent->first[next->at] = entries[keep].key;
    qsort(entries + keep, (size_t)spilt, sizeof(entry_t), by_lane_backwards);
    for (int k = 0; k < spilt; k++)
        move_lane(store, next, node, entries[keep + k].lane);
    if (!node->height)
        renew_cell(node);
    tighten(node);
    tighten(next);
}

static void attach(inner_t *inner, node_t *child, int64_t first)
{
    int at = inner->node.count++;
    empty_lane(&inner->node, at);
    inner->first[at] = first;
    inner->child[at] = child;
    child->parent = inner;
    child->at = at;
}

static inner_t *new_inner(store_t *store, int height)
{
    inner_t *inner = (inner_t *)take_node(store, height);
    if (inner != NULL)
        for (int i = 0; i < LANES; i++)
            inner->first[i] = INT64_MAX;
    return inner;
}

/* An empty tree: an inner node with one empty page. */
static inner_t *new_root(store_t *store)
{
    inner_t *root = new_inner(store, 1);
    node_t *page = root == NULL ? NULL : take_node(store, 0);
    if (page != NULL) {
        attach(root, page, 0);
        return root;
    }
    if (root != NULL)
        spare_node(store, &root->node);
    return NULL;
}

/* A full root hands its children to a node of its own. */
static int deepen(store_t *store, inner_t *root)
{
    inner_t *below = new_inner(store, root->node.height);
    if (below == NULL)
        return -1;
    for (int i = 0; i < root->node.count; i++)
        copy_lane(store, &below->node, i, &root->node, i);
    below->node.count = root->node.count;
    while (root->node.count)
        empty_lane(&root->node, --root->node.count);
    for (int i = 0; i < LANES; i++)
        root->first[i] = INT64_MAX;
    root->node.height++;
    attach(root, &below->node, 0);
    tighten(&below->node);
    return 0;
}

/* Split a full node, or level it with the next: pages that share are fuller than pages that split. */
static int make_room(store_t *store, node_t *node)
{
    if (node->count < store->limit)
        return 0;
    if (node->parent == NULL) {
        if (deepen(store, (inner_t *)node))
            return -1;
        return make_room(store, ((inner_t *)node)->child[0]);
    }
    int next = neighbour(node->parent, node->at, 1);
    if (next >= 0 && node->parent->child[next]->count <= store->limit * 5 / 8) {
        spill(store, node, node->parent->child[next]);
        return 0;
    }
    if (make_room(store, &node->parent->node))
        return -1;
    node_t *fresh = node->height ? (node_t *)new_inner(store, node->height) : take_node(store, 0);
    if (fresh == NULL)
        return -1;
    attach(node->parent, fresh, upper_bound(node));
    spill(store, node, fresh);
    return 0;
}

/* --- merging ----------------------------------------------------------------------------------------------------- */

/* Take an empty node out; its keys go to the entry before it, or else to the one after. */
static void detach(store_t *store, node_t *node)
{
    inner_t *up = node->parent;
    int after = neighbour(up, node->at, 1);
    if (after >= 0 && neighbour(up, node->at, 0) < 0)
        up->first[after] = up->first[node->at];
    drop_lane(store, &up->node, node->at);
    spare_node(store, node);
    if (up->node.parent != NULL)
        loosen(up->node.parent, up->node.at);
}

/* A root with one inner child takes over its children. */
static void flatten(store_t *store, inner_t *root)
{
    while (root->node.height > 1 && root->node.count == 1) {
        inner_t *below = (inner_t *)root->child[0];
        root->node.height--;
        for (int i = 0; i < below->node.count; i++)
            copy_lane(store, &root->node, i, &below->node, i);
        root->node.count = below->node.count;
        while (below->node.count)
            empty_lane(&below->node, --below->node.count);
        spare_node(store, &below->node);
    }
}

static node_t *roomy_neighbour(const store_t *store, const node_t *node)
{
    for (int after = 0; after < 2; after++) {
        int at = neighbour(node->parent, node->at, after);
        if (at >= 0 && node->parent->child[at]->count + node->count <= store->limit - store->limit / 8)
            return node->parent->child[at];
    }
    return NULL;
}

/* Move what is left in a nearly empty node to a neighbour that has room, and so upwards. */
static void merge(store_t *store, node_t *node)
{
    inner_t *up = node->parent;
    if (up == NULL) {
        flatten(store, (inner_t *)node);
        return;
    }
    if (node->count > store->limit / 2 || (node->count && up->node.count == 1))
        return;
    if (up->node.parent == NULL && up->node.count == 1)
        return; /* the last page of an empty tree */
    node_t *into = node->count ? roomy_neighbour(store, node) : NULL;
    if (node->count && into == NULL)
        return;
    if (into != NULL) {
        if (up->first[into->at] > up->first[node->at])
            up->first[into->at] = up->first[node->at];
        while (node->count)
            move_lane(store, into, node, node->count - 1);
        tighten(into);
    }
    detach(store, node);
    merge(store, &up->node);
}

/* --- asks -------------------------------------------------------------------------------------------------------- */

/* The page where an ask of this key belongs, with room for it; NULL without memory. */
static page_t *roomy_page_for(store_t *store, inner_t *root, int64_t key)
{
    page_t *page = page_for(root, key);
    if (page->node.count < store->limit)
        return page;
    return make_room(store, &page->node) ? NULL : page_for(root, key);
}

static void remove_ask(store_t *store, page_t *page, int lane)
{
    drop_lane(store, &page->node, lane);
    loosen(page->node.parent, page->node.at);
    merge(store, &page->node);
}

static inner_t *root_of(node_t *node)
{
    while (node->parent != NULL)
        node = &node->parent->node;
    return (inner_t *)node;
}

/* Move the asks that have left the cell of their page to where they belong. Without memory they stay, which is right
 * as well, only slower. */
static void tidy_page(store_t *store, page_t *page)
{
    int32_t stray[LANES];
    if (page->node.count == 0 || find_strays(&page->node, stray) == 0)
        return;
    inner_t *root = root_of(&page->node);
    for (int i = page->node.count - 1; i >= 0; i--) {
        if (!stray[i])
            continue;
        page_t *into = page_for(root, key_of(&page->node, i));
        if (into != page)
            into = roomy_page_for(store, root, key_of(&page->node, i));
        if (into == NULL)
            break;
        if (into == page) {
            extend_cell(&page->node, i);
            continue;
        }
        move_lane(store, &into->node, &page->node, i);
        cover(&into->node, into->node.count - 1);
    }
    tighten(&page->node);
    merge(store, &page->node);
}

#endif
