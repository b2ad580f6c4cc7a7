"""Long work of revenue in a process of its own (libs.jobs).

reassessment.py  the assessment of consignments whose aggregate changed
kinds.py         what jobs revenue has, and the runner of each
what_if.py       the runner of what-if runs
"""
