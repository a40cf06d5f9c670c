"""Looking without touching: plans, traces, comparisons, curves and passports of models and runs."""
