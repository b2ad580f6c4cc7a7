"""Assessments for readers: the columns of an answer, and sentences that explain each charge.

Imports all other packages of the law; none of them imports it.
"""
