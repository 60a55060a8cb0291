"""What memory tests share."""

SLACK = 32 << 20


class MemoryCheck:

    def check_memory(self, estimate, peak):
        self.assertLess(abs(peak - estimate), max(SLACK, estimate // 10),
                        f"estimated {estimate / 2**20:.0f} MiB, took {peak / 2**20:.0f}")
