"""A study: one base recipe, variants of it, and seeds. scripts/ablate runs them, scripts/report compares them."""
