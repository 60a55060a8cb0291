"""The router and the three balance losses on four tokens, in plain Python.

E = 8 experts in D = 4 groups of 2, at most L = 2 groups and K = 3 experts per token, one sequence of
T = 4 tokens; all factors 1; ties go to the lower id. Equations (21)-(31) of DeepSeek-V2 and its
section 2.2.2. `top2_sum` ranks groups by the sum of their two best scores instead of the best.
"""

import math

import golden

E, D, L, K = 8, 4, 2, 3
LOGITS = [
    [2.0, 0.0, 1.9, 1.8, 0.5, 0.0, -1.0, 0.3],
    [0.1, 1.5, 0.2, -0.5, 1.4, 1.3, 0.0, 0.0],
    [-1.0, 0.0, 0.4, 0.6, 0.2, 0.9, 1.2, -0.3],
    [1.0, 0.9, -0.2, 0.1, 1.1, -1.5, 0.7, 0.8],
]
GROUP_SIZE = E // D
# Worked out beforehand by other means; main() refuses to write anything else.
EXPECTED = {
    "greedy": ([[0, 2, 3], [1, 4, 5], [6, 5, 3], [4, 0, 1]], [1.060757, 1.049094, 1.173883]),
    "max": ([[0, 2, 3], [1, 4, 5], [6, 5, 4], [4, 0, 1]], [1.079185, 1.054706, 1.048250]),
    "top2_sum": ([[0, 2, 3], [1, 4, 5], [6, 5, 4], [0, 1, 7]], [1.032167, 1.032167, 1.014441]),
}


def softmax(row):
    weights = [math.exp(value - max(row)) for value in row]
    return [weight / sum(weights) for weight in weights]


def best(values, candidates, count):
    return sorted(candidates, key=lambda i: (-values[i], i))[:count]


def group_experts(group):
    return range(group * GROUP_SIZE, (group + 1) * GROUP_SIZE)


def route(scores, method):
    """The chosen experts of one token, best first."""
    if method == "greedy":
        return best(scores, range(E), K)
    taken = 1 if method == "max" else 2
    group_scores = [sum(sorted((scores[e] for e in group_experts(g)), reverse=True)[:taken]) for g in range(D)]
    groups = best(group_scores, range(D), L)
    return best(scores, [e for g in groups for e in group_experts(g)], K)


def losses(probabilities, expert_counts, visits, tokens):
    f = [E / (K * tokens) * count for count in expert_counts]
    f_device = [sum(f[e] for e in group_experts(g)) / GROUP_SIZE for g in range(D)]
    p_device = [sum(probabilities[e] for e in group_experts(g)) for g in range(D)]
    f_visits = [D / (L * tokens) * count for count in visits]
    dot = lambda a, b: sum(x * y for x, y in zip(a, b))
    return [dot(f, probabilities), dot(f_device, p_device), dot(f_visits, p_device)]


def case(method):
    scores = [softmax(row) for row in LOGITS]
    routes = [route(row, method) for row in scores]
    probabilities = [sum(column) / len(LOGITS) for column in zip(*scores)]
    expert_counts = [sum(e in chosen for chosen in routes) for e in range(E)]
    visits = [sum(any(e in group_experts(g) for e in chosen) for chosen in routes) for g in range(D)]
    device_counts = [sum(expert_counts[e] for e in group_experts(g)) for g in range(D)]
    expert, device, communication = losses(probabilities, expert_counts, visits, len(LOGITS))
    return {
        "method": method,
        "experts": routes,
        "weights": [[row[e] for e in chosen] for row, chosen in zip(scores, routes)],
        "probabilities": probabilities,
        "counts": {"expert": expert_counts, "device": device_counts, "visits": visits},
        "loss": {"expert": expert, "device": device, "communication": communication},
    }


def check(value):
    routes, expected = EXPECTED[value["method"]]
    assert [sorted(row) for row in value["experts"]] == [sorted(row) for row in routes], value
    for got, want in zip(value["loss"].values(), expected):
        assert abs(got - want) < 5e-7, (value["method"], got, want)


def main():
    cases = [case(method) for method in EXPECTED]
    for value in cases:
        check(value)
    config = {"n_routed_experts": E, "n_group": D, "topk_group": L, "num_experts_per_tok": K}
    golden.write("router", {"config": config, "logits": LOGITS, "cases": cases})


if __name__ == "__main__":
    main()
