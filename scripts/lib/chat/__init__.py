"""Conversations in the shapes that people keep them in, and what a tokenizer's chat template makes of them."""
