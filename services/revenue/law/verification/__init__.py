"""What verifies a version of law: the reviews of its values, and the cases by which it is tested.

Imports `source`. `cases` reads cases, `case_consignments` makes consignments of them, `case_comparison` compares what they are quoted.
"""
