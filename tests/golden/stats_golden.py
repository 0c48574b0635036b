#!/usr/bin/env python3
"""Golden vectors for daemon/stats: an independent implementation, by brute force.

Every figure comes from its definition: sign vectors are enumerated (2**n of them), Walsh averages
are listed, large nulls are counted in exact integers. Standard library only.

usage: stats_golden.py          write stats_golden.inc and stats_rings_golden.inc beside this file
       stats_golden.py --check  exit 1 if one of them differs from what would be written
"""
import itertools
import math
import pathlib
import random
import statistics
import sys
from fractions import Fraction

RNG = random.Random(20261124)


def lit(x):
    if x != x:
        return "NAN"
    if math.isinf(x):
        return "INFINITY" if x > 0 else "-INFINITY"
    return float(x).hex()


def array(values):
    return "{" + ", ".join(lit(v) for v in values) + "}"


def lists():
    """(name, values): small enough to enumerate; dyadic, so that ties are exact."""
    quarter = [Fraction(RNG.randint(-40, 40), 4) for _ in range(12)]
    return [
        ("one", [3.5]),
        ("two", [1.0, 4.0]),
        ("three", [-2.0, 0.5, 7.25]),
        ("equal", [2.0] * 6),
        ("zeros", [0.0] * 5),
        ("mixed zeros", [0.0, 0.0, -1.0, 2.0, 2.0, -2.0, 5.0]),
        ("ties", [1.0, 1.0, 1.0, -1.0, 2.0, 2.0, -3.0, 4.0]),
        ("seven", [0.25, -0.5, 1.75, 3.0, -0.125, 2.5, 6.0]),
        ("outlier", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 1e9]),
        ("negative", [-1.0, -2.5, -3.0, -4.75, -9.0, -10.0]),
        ("quarters", [float(q) for q in quarter]),
        ("random", [RNG.gauss(0.3, 1.0) for _ in range(13)]),
        ("wide", [RNG.uniform(-1, 1) * 10 ** RNG.randint(-6, 6) for _ in range(14)]),
    ]


def quantile_rows(named):
    for _, values in named:
        if len(values) < 2:
            continue
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        for percent in (1, 25, 50, 75, 90, 99):
            yield values, percent / 100, cuts[percent - 1]


def mad(values):
    middle = statistics.median(values)
    return statistics.median([abs(v - middle) for v in values])


def null_counts(n):
    """How many of the 2**n sign vectors give each rank sum, in integers."""
    counts = [1]
    for rank in range(1, n + 1):
        longer = counts + [0] * rank
        for s, c in enumerate(counts):
            longer[s + rank] += c
        counts = longer
    return counts


def critical(n, confidence):
    """(k, P(W <= k)): the largest k >= 0 with P <= (1 - confidence) / 2, by enumeration."""
    if n <= 14:
        sums = [sum(r for r, s in enumerate(signs, 1) if s)
                for signs in itertools.product((0, 1), repeat=n)]
        counts = [0] * (n * (n + 1) // 2 + 1)
        for s in sums:
            counts[s] += 1
    else:
        counts = null_counts(n)
    tail = (1 - Fraction(confidence)) / 2
    total, below, k = 2 ** n, counts[0], 0
    while Fraction(below + counts[k + 1], total) <= tail:
        k += 1
        below += counts[k]
    return k, Fraction(below, total)


def hodges_lehmann(values, confidence):
    averages = sorted((a + b) / 2 for i, a in enumerate(values) for b in values[i:])
    n = len(values)
    if n == 1:
        return values[0], values[0], values[0], 0.0
    k, p = critical(n, confidence)
    return (statistics.median(averages), averages[k], averages[len(averages) - 1 - k],
            float(1 - 2 * p))


def signed_rank(values, shift):
    """(p_greater, p_less, w_plus): midranks by counting, zeros ranked and then dropped."""
    d = [v - shift for v in values]
    ranks = []
    for x in d:
        if x == 0:
            continue
        smaller = sum(abs(y) < abs(x) for y in d)
        equal = sum(abs(y) == abs(x) for y in d)
        ranks.append((Fraction(2 * smaller + 1 + equal, 2), x > 0))
    w = sum((r for r, plus in ranks if plus), Fraction(0))
    greater = less = 0
    for signs in itertools.product((0, 1), repeat=len(ranks)):
        s = sum((r for (r, _), on in zip(ranks, signs) if on), Fraction(0))
        greater += s >= w
        less += s <= w
    total = 2 ** len(ranks)
    return greater / total, less / total, float(w)


def holm(p):
    """Definition: adjusted_i = max over j no larger than i of min(1, (how many >= p_j) * p_j)."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    steps = [min(1.0, (len(p) - place) * p[i]) for place, i in enumerate(order)]
    return [max(steps[: order.index(i) + 1]) for i in range(len(p))]


def ring(rotations, ratio, noise):
    x, y, slow = [], [], 1.0
    for r in range(rotations):
        slow *= math.exp(RNG.gauss(0, 0.05))
        x.append(10 * ratio * slow * math.exp(RNG.gauss(0, noise)))
        y.append(10 * slow * math.exp(RNG.gauss(0, noise)))
    quadruples = [0.5 * math.log(x[k] * x[k + 1] / (y[k] * y[k + 1]))
                  for k in range(0, rotations, 2)]
    return x, y, statistics.median(quadruples)


def emit(out):
    named = lists()
    out("/* Written by stats_golden.py: do not edit. */")
    out("static const struct golden_quantile golden_quantiles[] = {")
    for values, q, want in quantile_rows(named):
        out(f"    {{{len(values)}, {array(values)}, {lit(q)}, {lit(want)}}},")
    out("};")
    out("static const struct golden_mad golden_mads[] = {")
    for _, values in named:
        out(f"    {{{len(values)}, {array(values)}, {lit(mad(values))}}},")
    out("};")
    out("static const struct golden_hl golden_hls[] = {")
    for name, values in named:
        for confidence in (0.5, 0.8, 0.95, 0.99):
            want = hodges_lehmann(values, confidence)
            out(f'    {{"{name}", {len(values)}, {array(values)}, {lit(confidence)}, '
                f"{', '.join(lit(w) for w in want)}}},")
    out("};")
    out("static const struct golden_critical golden_criticals[] = {")
    for n in (1, 2, 5, 6, 7, 10, 14, 20, 50, 120, 200):
        for confidence in (0.9, 0.95, 0.98, 0.99, 0.999):
            k, p = critical(n, confidence) if n > 1 else (0, Fraction(1, 2))
            out(f"    {{{n}, {lit(confidence)}, {k}, {lit(float(p))}}},")
    out("};")
    out("static const struct golden_test golden_tests[] = {")
    for name, values in named:
        for shift in (0.0, 0.5, -1.0, 2.0):
            g, l, w = signed_rank(values, shift)
            out(f'    {{"{name}", {len(values)}, {array(values)}, {lit(shift)}, '
                f"{lit(g)}, {lit(l)}, {lit(w)}}},")
    out("};")
    out("static const struct golden_holm golden_holms[] = {")
    for p in ([0.5], [0.01, 0.04, 0.03], [0.2, 0.2, 0.2, 0.9], [0.0, 1.0, 0.004, 0.012, 0.05],
              [0.03, 0.02, 0.01, 0.04, 0.05, 0.001]):
        out(f"    {{{len(p)}, {array(p)}, {array(holm(p))}}},")
    out("};")
    out("/* P(W >= w) for ranks 1..n, counted exactly: what the normal approximation must meet. */")
    out("static const struct golden_tail golden_tails[] = {")
    for n in (201, 300, 400):
        counts = null_counts(n)
        for z in (0.5, 1.5, 2.33, 3.0):
            mean, sd = n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
            w = round(mean + z * sd)
            out(f"    {{{n}, {w}, {lit(float(Fraction(sum(counts[w:]), 2 ** n)))}}},")
    out("};")


def emit_rings(out):
    out("/* Written by stats_golden.py: do not edit. */")
    out("static const struct golden_ring golden_rings[] = {")
    for rotations, ratio, noise in ((2, 1.0, 0.01), (10, 1.03, 0.02), (24, 0.9, 0.1)):
        x, y, want = ring(rotations, ratio, noise)
        out(f"    {{{rotations}, {array(x)}, {array(y)}, {lit(want)}}},")
    out("};")


def main(argv):
    here = pathlib.Path(__file__).parent
    differing = 0
    for name, emitter in (("stats_golden.inc", emit), ("stats_rings_golden.inc", emit_rings)):
        lines = []
        emitter(lines.append)
        text = "\n".join(lines) + "\n"
        path = here / name
        if argv[1:] != ["--check"]:
            path.write_text(text, encoding="ascii")
        elif path.read_text(encoding="ascii") != text:
            print(f"{path} differs from what {argv[0]} writes")
            differing += 1
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
