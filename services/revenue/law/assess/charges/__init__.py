"""The charges: which apply, decided once for each case, their rates, their bases and their amounts.

`charges` > `bases` > `decisions` and `rate_choice`; `decisions` > `applicability` and `case_keys`.
"""
