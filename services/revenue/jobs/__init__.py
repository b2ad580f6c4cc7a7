"""Long work of revenue in a process of its own (libs.jobs).

reassessment.py  the assessment of consignments whose aggregate changed
credit.py        the application of accounts' credit to open items
seals.py         seals of the ledger's chains
proofs.py        the proofs of the ledger
packing.py       former rows of the ledger that become pages
kinds.py         what jobs revenue has, and the runner of each
what_if.py       the runner of what-if runs
"""
