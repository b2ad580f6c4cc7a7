"""The four categories of the WCO's Immediate Release Guidelines: their law as data, and the category of each consignment. Pure.

The data of each jurisdiction is a file of `jurisdictions/`; README.md there explains the elements.
"""
