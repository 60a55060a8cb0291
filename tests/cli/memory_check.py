"""What memory tests share."""

SLACK = 32 << 20


class MemoryCheck:

    def is_near(self, estimate, peak):
        return abs(peak - estimate) < max(SLACK, estimate // 10)

    def check_memory(self, estimate, peak):
        self.assertTrue(self.is_near(estimate, peak),
                        f"estimated {estimate / 2**20:.0f} MiB, took {peak / 2**20:.0f}")
