/* Whether a tree keeps its rules, for tests: told as the first rule that is broken, or NULL. */

#ifndef GOLLEM_CHECK_H
#define GOLLEM_CHECK_H

#include "_tree.h"

static const char *check_ask(const store_t *store, const page_t *page, int i)
{
    const slot_t *slot = &store->slots[page->slot[i]];
    if (slot->page != page || slot->lane != i)
        return "a slot leads to its ask";
    if (page->node.reserve[i] && !page->node.reserved)
        return "a page knows that it has reserves";
    return NULL;
}

/* Whether box k covers everything that is available in the node below. */
static const char *check_box(const inner_t *inner, int k)
{
    const node_t *box = &inner->node, *node = inner->child[k];
    for (int i = 0; i < node->count; i++) {
        if (!available(node, i))
            continue;
        if (box->free_slots[k] < node->free_slots[i] || box->free_tokens[k] < node->free_tokens[i])
            return "a box has the most that is free";
        if (box->price[k] > node->price[i] || box->completion[k] > node->completion[i]
            || box->latency[k] > node->latency[i] || box->tpot[k] > node->tpot[i] || box->age[k] > node->age[i])
            return "a box has the least of each figure";
    }
    return NULL;
}

static const char *check_node(const store_t *store, const node_t *node)
{
    const inner_t *inner = (const inner_t *)node;
    const char *broken = NULL;
    int least = 0;
    if (node->count > store->limit)
        return "no node is beyond its limit";
    for (int i = node->count; i < LANES; i++)
        if (node->free_slots[i])
            return "an empty lane has nothing free";
    for (int i = 0; broken == NULL && i < node->count; i++) {
        if (node->height == 0) {
            broken = check_ask(store, (const page_t *)node, i);
            continue;
        }
        if (inner->child[i]->parent != inner || inner->child[i]->at != i || inner->child[i]->height != node->height - 1)
            return "a child knows its place";
        if (inner->child[i]->count == 0 && (node->parent != NULL || node->count > 1))
            return "no node is empty";
        least = inner->first[i] < inner->first[least] ? i : least;
        broken = check_box(inner, i);
        if (broken == NULL)
            broken = check_node(store, inner->child[i]);
    }
    if (broken == NULL && node->parent == NULL && inner->first[least] != 0)
        return "every key leads somewhere";
    if (broken == NULL && node->parent == NULL && node->height > 1 && node->count == 1)
        return "no root is deeper than it has to be";
    return broken;
}

#endif
