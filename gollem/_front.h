/* The Pareto front of many points in three dimensions, in O(n log n): sort by cost, sweep with a Fenwick tree. */

#ifndef GOLLEM_FRONT_H
#define GOLLEM_FRONT_H

#include <stdint.h>
#include <stdlib.h>

typedef struct {
    int64_t cost, latency, tpot, age, score, handle;
} point_t;

#define BY(field) if (a->field != b->field) return a->field < b->field ? -1 : 1

static int by_cost(const void *left, const void *right)
{
    const point_t *a = left, *b = right;
    BY(cost);
    BY(latency);
    BY(tpot);
    BY(age);
    return 0;
}

static int by_score(const void *left, const void *right)
{
    const point_t *a = left, *b = right;
    BY(score);
    return by_cost(left, right);
}

static int by_value(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static inline int same_terms(const point_t *a, const point_t *b)
{
    return a->cost == b->cost && a->latency == b->latency && a->tpot == b->tpot;
}

/* Whether a is no worse than b in every dimension; with other terms, that is dominance. */
static inline int no_worse(const point_t *a, const point_t *b)
{
    return a->cost <= b->cost && a->latency <= b->latency && a->tpot <= b->tpot;
}

#define STRONG 8

/* A few points that dominate much. They keep most of the others from being collected and sorted at all. */
typedef struct {
    int count;
    point_t points[STRONG];
    double volumes[STRONG]; /* decides only which points are kept here, so it may be inexact */
} sieve_t;

/* Whether any strong point dominates every point that is no better than this corner. */
static inline int sieve_covers(const sieve_t *sieve, const point_t *corner)
{
    for (int k = 0; k < sieve->count; k++)
        if (no_worse(&sieve->points[k], corner) && !same_terms(&sieve->points[k], corner))
            return 1;
    return 0;
}

/* Takes a point among the strong if it spans less than one of them, the least first. */
static void sieve_learn(sieve_t *sieve, const point_t *point)
{
    double volume = (double)point->cost * (double)point->latency * (double)point->tpot;
    int at = sieve->count;
    if (at == STRONG && volume >= sieve->volumes[--at])
        return;
    for (; at > 0 && volume < sieve->volumes[at - 1]; at--) {
        sieve->points[at] = sieve->points[at - 1];
        sieve->volumes[at] = sieve->volumes[at - 1];
    }
    sieve->points[at] = *point;
    sieve->volumes[at] = volume;
    if (sieve->count < STRONG)
        sieve->count++;
}

/* The rank of a latency among those sorted, counted from 1. */
static int64_t rank_of(const int64_t *sorted, int64_t n, int64_t latency)
{
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (sorted[middle] < latency)
            low = middle + 1;
        else
            high = middle;
    }
    return low + 1;
}

/* Sorts the points by cost and keeps, in front of the array, those that no other dominates. Equal terms stay together.
 * Returns how many, or -1 without memory.
 *
 * In this order a point can be dominated by an earlier one only, and is if one of at most its latency has at most its
 * time per token: the tree holds the least time per token over every prefix of the latencies. */
static int64_t keep_front(point_t *points, int64_t n)
{
    int64_t kept = 0;
    int64_t *latencies = malloc(sizeof(int64_t) * (size_t)(n + 1));
    int64_t *tree = malloc(sizeof(int64_t) * (size_t)(n + 1));
    if (latencies == NULL || tree == NULL) {
        free(latencies);
        free(tree);
        return -1;
    }
    for (int64_t i = 0; i < n; i++) {
        latencies[i] = points[i].latency;
        tree[i] = INT64_MAX;
    }
    tree[n] = INT64_MAX;
    qsort(points, (size_t)n, sizeof(point_t), by_cost);
    qsort(latencies, (size_t)n, sizeof(int64_t), by_value);
    for (int64_t i = 0; i < n; i++) {
        point_t point = points[i];
        int64_t rank = rank_of(latencies, n, point.latency), least = INT64_MAX;
        for (int64_t k = rank; k > 0; k -= k & -k)
            least = tree[k] < least ? tree[k] : least;
        if (least <= point.tpot && !(kept && same_terms(&points[kept - 1], &point)))
            continue;
        for (int64_t k = rank; k <= n; k += k & -k)
            tree[k] = point.tpot < tree[k] ? point.tpot : tree[k];
        points[kept++] = point;
    }
    free(latencies);
    free(tree);
    return kept;
}

#endif
