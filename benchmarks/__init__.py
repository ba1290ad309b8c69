"""What nbgov costs, in CPU time, beside the products that people use today.

``make bench`` runs all of it; ``python -m benchmarks --help`` shows how to run a part. What a row
means, and what the figures are, is in ``docs/benchmarks.md``.
"""
