"""The four categories of the WCO's Immediate Release Guidelines: their law as dated data, and to which filings it applies. Pure.

The data of each jurisdiction is a file of `jurisdictions/`; README.md there explains the elements. Clearance determines categories by it, and
ingestion which elements a filing may omit.
"""
