"""Backtests: what a rule set or a model would have found among stored assessments. Pure.

joined_batches.py  stored batches as one large table, of which only what is asked for is read
baseline.py        the answers of the same rows as they were given
counts.py          counts by rule, lane, office and day, and examples; the same whatever the batching
rule_trial.py      judging a part of the period by a rule set
model_trial.py     scoring it by a model
progress.py        how far it is, as bytes to go on from
result.py          what it found, as a message
"""
