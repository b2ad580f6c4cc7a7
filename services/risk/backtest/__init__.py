"""Backtests: what a rule set or a model would have found among stored assessments. Pure.

joined.py   stored batches as one large table, of which only what is asked for is read
then.py     what was answered then, of the same rows
counting.py what is counted by rule, lane, office and day, and drawn as examples; the same whatever the batching
rules.py    judging a part of the period by a rule set
models.py   scoring it by a model
state.py    how far it is, as bytes to go on from
"""
