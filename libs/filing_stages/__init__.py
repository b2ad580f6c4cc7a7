"""The data sets of filings by stage: which elements are mandatory, conditional or optional before loading, before arrival, and in declarations.

They are data that ingestion (what it refuses and warns of) and clearance (what a filing lacks) read alike.
"""
