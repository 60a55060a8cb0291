"""Device-level token dropping on random pools, in plain Python (DeepSeek-V2 section 2.2.4).

The pairs (token, expert) that a group of experts receives from one pool compete for
ceil(capacity * K * N / D) places, N the tokens of the pool. Pairs of protected sequences stay, also beyond
the budget; what they leave goes to the others by affinity, then lower token, then lower expert.
"""

import math
import random

import golden

E, D, K = 8, 4, 3
SEQUENCES, POSITIONS = 3, 6


def random_pool(generator, steps, protect):
    """Chosen experts and their affinities; steps quantises the affinities so that ties occur."""
    experts, affinities = [], []
    for _ in range(SEQUENCES * POSITIONS):
        favourites = generator.choice([range(E), range(E), range(E // 2), range(1, 5)])
        experts.append(generator.sample(list(favourites), K))
        affinities.append([generator.randint(1, steps) / steps for _ in range(K)])
    protected = [[sequence in protect] * POSITIONS for sequence in range(SEQUENCES)]
    return experts, affinities, [flag for row in protected for flag in row]


def kept_pairs(experts, affinities, protected, capacity):
    budget = math.ceil(capacity * K * len(experts) / D)
    kept = [[False] * K for _ in experts]
    for group in range(D):
        pairs = [(n, k) for n, row in enumerate(experts) for k, e in enumerate(row) if e // (E // D) == group]
        pairs.sort(key=lambda nk: (not protected[nk[0]], -affinities[nk[0]][nk[1]], nk[0], experts[nk[0]][nk[1]]))
        for place, (n, k) in enumerate(pairs):
            kept[n][k] = place < budget or protected[n]
    return budget, kept


def case(seed, steps, protect, capacity):
    experts, affinities, protected = random_pool(random.Random(seed), steps, protect)
    budget, kept = kept_pairs(experts, affinities, protected, capacity)
    return {"seed": seed, "capacity": capacity, "budget": budget, "experts": experts, "affinities": affinities,
            "protected": protected, "kept": kept, "dropped": sum(not flag for row in kept for flag in row)}


def main():
    pools = [(1, 1 << 20, ()), (2, 1 << 20, (1,)), (3, 4, ()), (4, 4, (0,)), (5, 1, (2,)), (6, 2, (0, 2))]
    cases = [case(*pool, capacity) for pool in pools for capacity in (1.0, 0.5)]
    assert all(0 < value["dropped"] < E * K * SEQUENCES * POSITIONS for value in cases)
    config = {"n_routed_experts": E, "n_group": D, "num_experts_per_tok": K}
    golden.write("drop", {"config": config, "cases": cases})


if __name__ == "__main__":
    main()
