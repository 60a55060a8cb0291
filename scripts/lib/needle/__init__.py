"""Needles in haystacks: documents to learn from, a grid of depths and lengths to score, tables and pictures of both."""
